/** Shared by the adapters of other projects: their binaries, and systems made of such programs. */
import { accessSync, constants, statSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { MINUTE } from '../../../src/util/clock.ts';
import { Program, run } from '../../../test/support/program.ts';
import { inParallel } from '../../support/parallel.ts';
import { onlyChild } from '../../support/process-usage.ts';
import type { Place } from '../network.ts';
import type { Member, Scene } from '../scene.ts';
import type { RunningSystem } from './system.ts';

const READY_WITHIN = 2 * MINUTE;
/** Nodes whose programs start at a time. */
const STARTING = 4;

/** The reason why such a system does not run if all nodes have one address. */
export const FIXED_PORTS = 'its nodes have fixed ports: it does not run with --loopback';

/** A program as an adapter starts it. */
export interface Command {
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Text by path, written before the start. */
  readonly files?: Readonly<Record<string, string>>;
  /** Folders that must exist. */
  readonly folders?: readonly string[];
  /**
   * Folders that several programs would share: each gets its own. Such a program starts others, which end with it: it is
   * the first process of a PID namespace (unshare(1)).
   */
  readonly ownFolders?: readonly string[];
  /** TCP port that answers when it is ready. */
  readonly port: number;
}

/** The fault of a binary, for people; undefined if there is none. */
export function lacksBinary(option: string, path: string | undefined, hint: string): string | undefined {
  if (path === undefined) return `${option} is needed: ${hint}`;
  return isProgram(path) ? undefined : `${option}: ${path} is no program`;
}

/** The same for several in one folder. */
export function lacksBinaries(
  option: string,
  folder: string | undefined,
  names: readonly string[],
  hint: string,
): string | undefined {
  if (folder === undefined) return `${option} is needed: ${hint}`;
  const missing = names.filter((name) => !isProgram(join(folder, name)));
  return missing.length === 0 ? undefined : `${option}: ${folder} has no program ${missing.join(', ')}`;
}

export function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/** A command as a program that runs. */
export interface Running extends AsyncDisposable {
  readonly program: Program;
  /** PID of the command itself, not of the program that set up its namespaces. */
  readonly pid: number;
}

/**
 * Starts it on its host, and waits until its port answers; ends it if the port does not.
 * @param readyWithin milliseconds
 * @throws Error with its last output
 */
export async function startProgram(
  place: Pick<Place, 'address' | 'within'>,
  wanted: Command,
  readyWithin = READY_WITHIN,
): Promise<Running> {
  const { ownFolders = [] } = wanted;
  for (const folder of [...(wanted.folders ?? []), ...ownFolders]) await mkdir(folder, { recursive: true });
  for (const [path, text] of Object.entries(wanted.files ?? {})) {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, text);
  }
  const { env, port } = wanted;
  const { within } = place;
  const [command = '', ...args] = [...alone(ownFolders), wanted.command, ...wanted.args];
  await using stack = new AsyncDisposableStack();
  const program = stack.use(await Program.start({ command, args, within, ...(env && { env }) }));
  const probe = `exec 3<>/dev/tcp/${place.address}/${port}`;
  await program.until(async () => (await run('bash', ['-c', probe], { within })).code === 0, {
    timeout: readyWithin,
  });
  const isAlone = ownFolders.length > 0;
  const pid = isAlone ? await onlyChild(program.pid) : program.pid;
  if (isAlone) stack.defer(() => endNamespace(program, pid));
  const all = stack.move();
  return { program, pid, [Symbol.asyncDispose]: () => all.disposeAsync() };
}

/** The first process of a PID namespace takes no other signal; its children end with it. */
async function endNamespace(program: Program, first: number): Promise<void> {
  if (program.exit === undefined) process.kill(first, 'SIGKILL');
  await program.exited;
}

/** Argv before a command that gets these folders for itself, as the first process of a PID namespace. */
function alone(folders: readonly string[]): readonly string[] {
  if (folders.length === 0) return [];
  const mounts = folders.map((folder) => `mount -t tmpfs tmpfs ${folder} && `).join('');
  return ['unshare', '--mount', '--pid', '--fork', '--kill-child', 'sh', '-c', `${mounts}exec "$@"`, 'sh'];
}

/** Starts one on each node. `stack` ends them. */
export function startOnNodes(
  { signal }: Scene,
  members: readonly Member[],
  stack: AsyncDisposableStack,
  commandOf: (member: Member, index: number) => Command | Promise<Command>,
): Promise<readonly Running[]> {
  return inParallel(members, STARTING, async (member, index) => {
    signal.throwIfAborted();
    return stack.use(await startProgram(member.place, await commandOf(member, index)));
  });
}

/** URLs of the nodes' mirrors, which all have this port. */
export function mirrorsAt(members: readonly Member[], port: number): readonly URL[] {
  return members.map(({ place }) => new URL(`http://${place.reach}:${port}`));
}

/** Text of a configuration file: JSON is YAML. */
export function yaml(value: unknown): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
}

/** A system of programs on nodes and of central ones. It does not report the source of bytes. */
export class ProgramSystem implements RunningSystem {
  readonly versions: Readonly<Record<string, string>>;
  readonly knownSeconds = null;
  readonly #nodes: readonly Running[];
  readonly #central: readonly Running[];
  readonly #mirrors: readonly URL[];
  readonly #stack: AsyncDisposableStack;

  constructor(
    parts: {
      readonly versions: Readonly<Record<string, string>>;
      /** One for each node. */
      readonly nodes: readonly Running[];
      readonly central: readonly Running[];
      readonly mirrors: readonly URL[];
    },
    stack: AsyncDisposableStack,
  ) {
    this.versions = parts.versions;
    this.#nodes = parts.nodes;
    this.#central = parts.central;
    this.#mirrors = parts.mirrors;
    this.#stack = stack;
  }

  get central(): readonly number[] {
    return this.#central.map(({ pid }) => pid);
  }

  mirror(node: number): URL | undefined {
    return this.#mirrors[node];
  }

  pids(node: number): readonly number[] {
    return this.#nodes.slice(node, node + 1).map(({ pid }) => pid);
  }

  async traffic(): Promise<undefined> {
    return undefined;
  }

  async kill(node: number): Promise<void> {
    await this.#nodes[node]?.program.stop('SIGKILL');
  }

  log(node: number): string {
    return this.#nodes[node]?.program.lines.join('\n') ?? '';
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync();
  }
}

/** The version that a program prints; `unknown` if it prints none. */
export async function versionOf(command: string, argument: string): Promise<string> {
  const { stdout, stderr } = await run(command, [argument]);
  return versionIn(stdout + stderr);
}

/** The first version in a text. The seconds of a log line's time (`06:44:58.649Z`) are none. */
export function versionIn(text: string): string {
  return /(?<![\d:.])\d+\.\d+[\w.+~-]*/.exec(text)?.[0] ?? 'unknown';
}
