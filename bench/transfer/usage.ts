/** CPU time and memory that this process has used. */
import type { Reply } from './protocol.ts';

const MICROSECONDS_PER_SECOND = 1e6;

export function usage(): Reply {
  const { user, system } = process.cpuUsage();
  return {
    kind: 'usage',
    user: user / MICROSECONDS_PER_SECOND,
    system: system / MICROSECONDS_PER_SECOND,
    resident: process.memoryUsage.rss(),
  };
}
