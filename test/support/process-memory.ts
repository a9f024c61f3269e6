/** Memory of another process, as the kernel counts it (proc(5), /proc/pid/status). */
import { readdir, readFile } from 'node:fs/promises';
import { KIB } from '../../src/util/clock.ts';

/**
 * Bytes. `RssAnon`: memory of its own at present; `VmHWM`: the most that it had resident at any time, with the pages of
 * files.
 */
export async function memoryOf(pid: number, field: 'RssAnon' | 'VmHWM'): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  const found = new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1];
  if (found === undefined) throw new Error(`no ${field} of process ${pid}`);
  return Number(found) * KIB;
}

/** Files and sockets that it has open. */
export async function openFilesOf(pid: number): Promise<number> {
  return (await readdir(`/proc/${pid}/fd`)).length;
}
