/** Docker: `registry-mirrors` of daemon.json. They are for Docker Hub alone, and dockerd reads them again at SIGHUP. */
import { readFile } from 'node:fs/promises';
import { editing } from './edit.ts';
import { commandLineOf, optionOf, proxyNotes, type CommandLine } from './command-line.ts';
import { daemonJsonEdit, otherMirrors, parseDaemonJson } from './daemon-json.ts';
import type { HostFiles } from '../../host/host-files.ts';
import { ALL_REGISTRIES, existsAny, programPaths, type Detect } from './target.ts';

const DAEMON_JSON = '/etc/docker/daemon.json';
const PID_FILE = '/var/run/docker.pid';
const DOCKER_HUB = 'docker.io';

const NO_RESOLVE_NOTE =
  '--resolve registry: Docker also asks a mirror for tags, and no setting prevents that: it is left without the mirror';

export const detectDocker: Detect = async (files, wish, isNamed) => {
  const command = await commandLineOf(files, 'dockerd');
  const path = configOf(command);
  if (!isNamed && !(await existsAny(files, [path, PID_FILE, ...programPaths('dockerd')]))) return undefined;
  const flags = optionOf(command, ['--registry-mirror']);
  if (flags.length > 0) return { runtime: 'docker', targets: [], notes: [flagNote(flags, path)] };
  if (wish.resolve === 'registry') return { runtime: 'docker', targets: [], notes: [NO_RESOLVE_NOTE] };
  const text = await files.read(path);
  const wantsHub = wish.registries.some((name) => name === ALL_REGISTRIES || name === DOCKER_HUB);
  return {
    runtime: 'docker',
    targets: wantsHub
      ? [
          {
            path,
            edit: daemonJsonEdit(wish.mirrorUrl),
            takesEffect: 'when dockerd reads it again',
          },
        ]
      : [],
    notes: [
      ...(wantsHub
        ? othersNotes(editing(path, () => otherMirrors(text, wish.mirrorUrl)))
        : ['Docker has mirrors for docker.io only, which is not among --registries']),
      ...proxyNotes(command),
    ],
  };
};

function configOf(command: CommandLine): string {
  return optionOf(command, ['--config-file']).at(-1) ?? DAEMON_JSON;
}

/** dockerd does not start with a mirror both in its file and on its command line. */
function flagNote(flags: readonly string[], path: string): string {
  return (
    `dockerd has its mirrors on its command line (--registry-mirror ${flags.join(', ')}) and does not start with others in ` +
    `${path}: nothing was changed. Move them into that file and restart dockerd, or add --registry-mirror there by hand`
  );
}

function othersNotes(others: readonly string[]): readonly string[] {
  if (others.length === 0) return [];
  return [
    `docker.io is pulled from ${others.join(', then ')} first: the mirror stands behind, in front of Docker Hub`,
  ];
}

async function pidFileOf(files: HostFiles): Promise<string> {
  const path = configOf(await commandLineOf(files, 'dockerd'));
  const text = await files.read(path);
  const { pidfile } = editing(path, () => parseDaemonJson(text));
  return typeof pidfile === 'string' && pidfile !== '' ? pidfile : PID_FILE;
}

/** Sends SIGHUP to the process of the pid file, if that is a dockerd: a stale file may name any process. */
export async function reloadDocker(files: HostFiles): Promise<string> {
  const pidFile = await pidFileOf(files);
  const text = (await files.read(pidFile))?.trim() ?? '';
  if (text === '') return 'dockerd is not running: it reads the file when it starts';
  const byHand = `reload dockerd by hand: kill -HUP $(cat ${pidFile})`;
  const pid = Number(text);
  if (!Number.isSafeInteger(pid) || pid <= 1) return `${pidFile} holds no process ID: ${byHand}`;
  // The processes of this namespace, not those of the mounted root: only these can be signalled.
  const comm = await processName(pid);
  if (comm !== 'dockerd') {
    return `process ${pid} of ${pidFile} is ${comm === undefined ? 'not visible from here' : comm}, not dockerd: ${byHand}`;
  }
  try {
    process.kill(pid, 'SIGHUP');
  } catch (cause) {
    return `dockerd (process ${pid}) could not be told to reload (${String(cause)}): ${byHand}`;
  }
  return `dockerd (process ${pid}) was told to reload (SIGHUP)`;
}

async function processName(pid: number): Promise<string | undefined> {
  try {
    return (await readFile(`/proc/${pid}/comm`, 'utf8')).trim();
  } catch {
    return undefined; // it has ended, or is in another process namespace
  }
}
