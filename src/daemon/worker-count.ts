/** How many byte workers a node has. */
import { availableParallelism } from 'node:os';

/** More bring nothing on a link of 10 Gbit/s. */
const MOST_BY_DEFAULT = 4;

/**
 * @param setting `node.workers`
 * @param cores that this process may use; default: those that its affinity and the CPU quota of its cgroup leave
 */
export function workerCount(setting: number | 'auto', cores: number = availableParallelism()): number {
  if (setting !== 'auto') return setting;
  return Math.max(1, Math.min(MOST_BY_DEFAULT, cores - 1)); // the main thread has the last one
}
