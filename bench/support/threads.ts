/** CPU time of the threads of one process, by what they do (proc(5), Linux only). */
import { readdir, readFile } from 'node:fs/promises';

export interface ThreadTime {
  /** The main thread has that of its process. */
  readonly id: number;
  /** At most 15 characters, as the kernel keeps it. */
  readonly name: string;
  /** CPU seconds so far, user and system. */
  readonly seconds: number;
}

/** CPU seconds by group of threads. */
export type GroupSeconds = Readonly<Record<string, number>>;

/** The thread that runs the event loop. */
export const MAIN = 'main';
/** The pool of libuv: files, and names of hosts. */
export const POOL = 'libuv pool';
/** Threads of V8: compilation and garbage collection. */
export const ENGINE = 'V8';

const NANOSECONDS_PER_SECOND = 1e9;
/** The process or the thread has ended. */
const GONE = new Set(['ENOENT', 'ESRCH']);

/** Threads that end meanwhile are left out. */
export async function threadTimes(pid: number): Promise<readonly ThreadTime[]> {
  const ids = await readdir(`/proc/${pid}/task`);
  const times = await Promise.all(ids.map((id) => readThread(pid, Number(id))));
  return times.filter((time) => time !== undefined);
}

/** CPU seconds so far of the thread that the process began with. */
export async function mainThreadSeconds(pid: number): Promise<number> {
  return parseSchedstat(await readFile(`/proc/${pid}/task/${pid}/schedstat`, 'utf8'));
}

/** @param text of /proc/PID/task/TID/schedstat, which counts nanoseconds; stat counts hundredths of a second */
export function parseSchedstat(text: string): number {
  const [nanoseconds = ''] = text.split(' ', 1);
  if (!/^\d+$/.test(nanoseconds)) throw new Error(`"${text.trim()}" is no schedstat of a thread`);
  return Number(nanoseconds) / NANOSECONDS_PER_SECOND;
}

/** Worker threads are grouped by their name, less a number at its end. */
export function groupOf({ id, name }: Pick<ThreadTime, 'id' | 'name'>, pid: number): string {
  if (id === pid) return MAIN;
  if (name.startsWith('libuv-worker')) return POOL;
  // "DelayedTaskScheduler" of Node.js hands its tasks to the threads of V8.
  if (name.startsWith('node-V8') || name.startsWith('V8Worker') || name.startsWith('DelayedTask')) {
    return ENGINE;
  }
  return name.replace(/[\s\-#:]*\d+$/, '') || name;
}

/** What each group used between two looks. A thread that ended meanwhile is left out: the kernel forgets its time. */
export function groupSeconds(
  pid: number,
  before: readonly ThreadTime[],
  after: readonly ThreadTime[],
): GroupSeconds {
  const began = new Map(before.map(({ id, seconds }) => [id, seconds]));
  const groups: Record<string, number> = { [MAIN]: 0 };
  for (const thread of after) {
    const group = groupOf(thread, pid);
    groups[group] = (groups[group] ?? 0) + thread.seconds - (began.get(thread.id) ?? 0);
  }
  return groups;
}

async function readThread(pid: number, id: number): Promise<ThreadTime | undefined> {
  const folder = `/proc/${pid}/task/${id}`;
  try {
    const [name, schedstat] = await Promise.all([
      readFile(`${folder}/comm`, 'utf8'),
      readFile(`${folder}/schedstat`, 'utf8'),
    ]);
    return { id, name: name.replace(/\n$/, ''), seconds: parseSchedstat(schedstat) };
  } catch (error) {
    if (error instanceof Error && 'code' in error && GONE.has(String(error.code))) return undefined;
    throw error;
  }
}
