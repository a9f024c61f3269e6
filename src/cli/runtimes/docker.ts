/** Docker: `registry-mirrors` of daemon.json, which stand for Docker Hub alone and are read again at SIGHUP. */
import { readFile } from 'node:fs/promises';
import { editing } from './edit.ts';
import { daemonJsonEdit, parseDaemonJson } from './daemon-json.ts';
import type { HostFiles } from './host-files.ts';
import { ALL_REGISTRIES, existsAny, programPaths, type Detect } from './target.ts';

const DAEMON_JSON = '/etc/docker/daemon.json';
const PID_FILE = '/var/run/docker.pid';
const DOCKER_HUB = 'docker.io';

const NO_RESOLVE_NOTE =
  '--resolve registry: Docker asks a mirror for tags, too, and has no setting for that: it is left without the mirror';

export const detectDocker: Detect = async (files, wish, isNamed) => {
  if (!isNamed && !(await existsAny(files, [DAEMON_JSON, PID_FILE, ...programPaths('dockerd')])))
    return undefined;
  if (wish.resolve === 'registry') return { runtime: 'docker', targets: [], notes: [NO_RESOLVE_NOTE] };
  const wantsHub = wish.registries.some((name) => name === ALL_REGISTRIES || name === DOCKER_HUB);
  return {
    runtime: 'docker',
    targets: wantsHub
      ? [
          {
            path: DAEMON_JSON,
            edit: daemonJsonEdit(wish.mirrorUrl),
            takesEffect: 'once dockerd has read it again',
          },
        ]
      : [],
    notes: wantsHub ? [] : ['Docker has mirrors for docker.io only, and that is not among --registries'],
  };
};

async function pidFileOf(files: HostFiles): Promise<string> {
  const text = await files.read(DAEMON_JSON);
  if (text === undefined || text.trim() === '') return PID_FILE;
  const { pidfile } = editing(DAEMON_JSON, () => parseDaemonJson(text));
  return typeof pidfile === 'string' && pidfile !== '' ? pidfile : PID_FILE;
}

/** SIGHUP to the process that the pid file names, if that is a dockerd: a stale file may name anybody. */
export async function reloadDocker(files: HostFiles): Promise<string> {
  const pidFile = await pidFileOf(files);
  const text = (await files.read(pidFile))?.trim() ?? '';
  if (text === '') return 'dockerd is not running: it reads the file when it starts';
  const byHand = `tell dockerd yourself: kill -HUP $(cat ${pidFile})`;
  const pid = Number(text);
  if (!Number.isSafeInteger(pid) || pid <= 1) return `${pidFile} holds no process ID: ${byHand}`;
  // The processes of here, not those of the mounted root: only these can be signalled.
  const comm = await processName(pid);
  if (comm !== 'dockerd') {
    return `process ${pid} of ${pidFile} is ${comm === undefined ? 'not to be seen from here' : comm}, not dockerd: ${byHand}`;
  }
  try {
    process.kill(pid, 'SIGHUP');
  } catch (cause) {
    return `dockerd (process ${pid}) could not be told to read it again (${String(cause)}): ${byHand}`;
  }
  return `dockerd (process ${pid}) was told to read it again (SIGHUP)`;
}

async function processName(pid: number): Promise<string | undefined> {
  try {
    return (await readFile(`/proc/${pid}/comm`, 'utf8')).trim();
  } catch {
    return undefined; // it has ended, or lives in another process namespace
  }
}
