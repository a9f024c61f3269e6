/** CPU time and memory that this process has used. */
import type { Reply } from './protocol.ts';

const MICROSECONDS_PER_SECOND = 1e6;

export function usage(): Reply {
  return {
    kind: 'usage',
    process: seconds(process.cpuUsage()),
    main: seconds(process.threadCpuUsage()),
    resident: process.memoryUsage.rss(),
  };
}

function seconds({ user, system }: NodeJS.CpuUsage): number {
  return (user + system) / MICROSECONDS_PER_SECOND;
}
