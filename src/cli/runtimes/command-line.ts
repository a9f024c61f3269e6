/** How a runtime was started: its running process, or its systemd unit while it does not run. */
import { posix } from 'node:path';
import type { HostFiles } from '../../host/host-files.ts';

/** Where systemd looks for units, the first wins; drop-ins of all hold, in the order of their names. */
const UNIT_FOLDERS = [
  '/etc/systemd/system',
  '/run/systemd/system',
  '/usr/lib/systemd/system',
  '/lib/systemd/system',
];
const PROXY_NAMES = ['HTTPS_PROXY', 'https_proxy', 'HTTP_PROXY', 'http_proxy'];

export interface CommandLine {
  readonly program: string;
  /** Without the program. */
  readonly args: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
}

/**
 * No arguments if it does not run and has no unit.
 * @param isWanted whether such a process is the one that is meant
 */
export async function commandLineOf(
  files: HostFiles,
  program: string,
  isWanted: (found: CommandLine) => boolean = () => true,
): Promise<CommandLine> {
  return (await ofProcess(files, program, isWanted)) ?? (await ofUnit(files, program));
}

/** The values of `--name=value` and `--name value`, in their order. */
export function optionOf({ args }: CommandLine, names: readonly string[]): readonly string[] {
  return args.flatMap((arg, index) => {
    const name = names.find((each) => arg === each || arg.startsWith(`${each}=`));
    if (name === undefined) return [];
    const value = arg === name ? args[index + 1] : arg.slice(name.length + 1);
    return value === undefined ? [] : [value];
  });
}

/** The address of a proxy may hold a password: it is not shown. */
export function proxyNotes({ program, environment }: CommandLine): readonly string[] {
  const names = PROXY_NAMES.filter((name) => (environment[name] ?? '') !== '');
  if (names.length === 0) return [];
  return [
    `${program} was started with ${names.join(', ')}: give Weir the same variables if it reaches registries only through ` +
      `that proxy, and 127.0.0.1 in NO_PROXY of ${program}`,
  ];
}

async function ofProcess(
  files: HostFiles,
  program: string,
  isWanted: (found: CommandLine) => boolean,
): Promise<CommandLine | undefined> {
  const home = await files.linkAt('/proc/1/ns/mnt');
  for (const id of (await files.list('/proc')).filter((name) => /^\d+$/.test(name))) {
    const [command = '', ...args] = await recordsOf(files, `/proc/${id}/cmdline`);
    if (posix.basename(command) !== program) continue;
    // A runtime within a container has files of its own.
    if (home !== undefined && (await files.linkAt(`/proc/${id}/ns/mnt`)) !== home) continue;
    const environment = Object.fromEntries(
      (await recordsOf(files, `/proc/${id}/environ`)).map((each) => assignment(each)),
    );
    const found = { program, args, environment };
    if (isWanted(found)) return found;
  }
  return undefined;
}

/** A process may end while it is read, and has bytes of any kind. */
async function recordsOf(files: HostFiles, path: string): Promise<readonly string[]> {
  const text = await files.read(path).catch(() => undefined);
  return (text ?? '').split('\0').slice(0, -1);
}

async function ofUnit(files: HostFiles, program: string): Promise<CommandLine> {
  const unit = program === 'dockerd' ? 'docker.service' : `${program}.service`;
  let args: readonly string[] = [];
  const environment: Record<string, string> = {};
  for (const text of await unitTexts(files, unit)) {
    for (const line of text.replaceAll(/\\\r?\n/g, ' ').split(/\r?\n/)) {
      const [key, value] = assignment(line.trim());
      const words = wordsOf(value);
      // An empty one takes back those before it.
      if (key === 'ExecStart') args = words.slice(1);
      if (key === 'Environment')
        Object.assign(environment, Object.fromEntries(words.map((each) => assignment(each))));
    }
  }
  return { program, args, environment };
}

async function unitTexts(files: HostFiles, unit: string): Promise<readonly string[]> {
  const texts: string[] = [];
  const dropIns = new Map<string, string>();
  for (const folder of UNIT_FOLDERS) {
    const main = texts.length === 0 ? await files.read(posix.join(folder, unit)) : undefined;
    if (main !== undefined) texts.push(main);
    const within = posix.join(folder, `${unit}.d`);
    for (const name of (await files.list(within)).filter((each) => each.endsWith('.conf'))) {
      if (!dropIns.has(name)) dropIns.set(name, (await files.read(posix.join(within, name))) ?? '');
    }
  }
  return [...texts, ...[...dropIns.keys()].toSorted().map((name) => dropIns.get(name) ?? '')];
}

function assignment(text: string): readonly [string, string] {
  const at = text.indexOf('=');
  return at === -1 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
}

/** Words, in quotes or without (systemd.syntax(7)). */
function wordsOf(text: string): readonly string[] {
  return [...text.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map(
    ([, double, single, bare]) => double ?? single ?? bare ?? '',
  );
}
