/** CPU time and resident memory of running programs, as the kernel counts them (proc(5), Linux only). */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { KIB } from '../../src/util/clock.ts';

const NANOSECONDS_PER_SECOND = 1e9;

/** Sets VmHWM back to the present size (proc(5), clear_refs). */
const RESET_PEAK = '5';

/** CPU seconds, user and system, of a process with all its threads and all the children that it has now. */
export async function cpuSeconds(pid: number): Promise<number> {
  let nanoseconds = 0;
  for (const thread of await readdir(`/proc/${pid}/task`)) {
    const folder = `/proc/${pid}/task/${thread}`;
    // In nanoseconds; /proc/PID/stat counts in hundredths of a second.
    nanoseconds += firstNumber(await readFile(`${folder}/schedstat`, 'utf8'));
    for (const child of await childrenOf(pid, thread))
      nanoseconds += (await cpuSeconds(child)) * NANOSECONDS_PER_SECOND;
  }
  return nanoseconds / NANOSECONDS_PER_SECOND;
}

/** The one process that a process of one thread has started. */
export async function onlyChild(pid: number): Promise<number> {
  const [child, ...others] = await childrenOf(pid, String(pid));
  if (child === undefined || others.length > 0) throw new Error(`process ${pid} has not one child`);
  return child;
}

async function childrenOf(pid: number, thread: string): Promise<readonly number[]> {
  const children = await readFile(`/proc/${pid}/task/${thread}/children`, 'utf8');
  return children.split(' ').map(Number).filter(Boolean);
}

/** Bytes of memory that the process has in RAM now, shared ones included. */
export function residentBytes(pid: number): Promise<number> {
  return statusBytes(pid, 'VmRSS');
}

/** Bytes of memory that the process shares with no other: the cost of one more process (proc(5), smaps_rollup). */
export async function privateBytes(pid: number): Promise<number> {
  const rollup = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8');
  const parts = [...rollup.matchAll(/^Private_(?:Clean|Dirty):\s+(\d+) kB$/gm)];
  if (parts.length !== 2) throw new Error(`/proc/${pid}/smaps_rollup has no private memory`);
  return parts.reduce((sum, [, kib]) => sum + Number(kib) * KIB, 0);
}

/** The highest {@link residentBytes} since the start, or since {@link resetPeak}. */
export function peakResidentBytes(pid: number): Promise<number> {
  return statusBytes(pid, 'VmHWM');
}

export async function resetPeak(pid: number): Promise<void> {
  await writeFile(`/proc/${pid}/clear_refs`, RESET_PEAK);
}

async function statusBytes(pid: number, field: string): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  const found = new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1];
  if (found === undefined) throw new Error(`/proc/${pid}/status has no ${field}`);
  return Number(found) * KIB;
}

function firstNumber(text: string): number {
  return Number(text.split(' ', 1)[0]);
}
