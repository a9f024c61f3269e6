/** How the machine's CPU time was spent while something ran (proc(5), /proc/stat). */
import { readFile } from 'node:fs/promises';

/** Since the start of the machine, in hundredths of a second. */
export interface CpuTimes {
  readonly total: number;
  /** Time in which no process of this machine wanted to run. */
  readonly idle: number;
  /** Time in which this machine wanted to run and its hypervisor ran others. */
  readonly stolen: number;
}

/** Columns of `idle` and `iowait` behind user, nice and system. */
const IDLE = 3;
const IO_WAIT = 4;
/** Column of `steal` behind user, nice, system, idle, iowait, irq and softirq. */
const STEAL = 7;
/** Guest time behind it is counted in user time already. */
const COLUMNS = 8;

export async function cpuTimes(): Promise<CpuTimes> {
  return parseCpuTimes(await readFile('/proc/stat', 'utf8'));
}

export function parseCpuTimes(text: string): CpuTimes {
  const [line = ''] = text.split('\n', 1);
  const times = line.trim().split(/\s+/).slice(1).map(Number).slice(0, COLUMNS);
  return {
    total: times.reduce((sum, time) => sum + time, 0),
    idle: (times[IDLE] ?? 0) + (times[IO_WAIT] ?? 0),
    stolen: times[STEAL] ?? 0,
  };
}

/** 0 to 1 of all cores. */
export function busyShare(before: CpuTimes, after: CpuTimes): number {
  const total = after.total - before.total;
  return total <= 0 ? 0 : 1 - (after.idle - before.idle) / total;
}

/** 0 to 1; above some hundredths, times say more about the hypervisor's other guests than about the program. */
export function stolenShare(before: CpuTimes, after: CpuTimes): number {
  const total = after.total - before.total;
  return total <= 0 ? 0 : (after.stolen - before.stolen) / total;
}
