/** A node's byte workers: how many there are, and what becomes of the node if they fail. */
import { availableParallelism } from 'node:os';
import { ByteWorkers } from '../bytes/byte-workers.ts';
import { WorkerWatch } from '../bytes/worker-watch.ts';
import type { Config } from '../config/settings.ts';
import type { WeirError } from '../util/errors.ts';
import type { Logger } from './logger.ts';

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

/** @param crash ends the process at once */
export function startWorkers(
  config: Config,
  logger: Logger,
  crash: (cause: 'workers' | 'stuck-worker') => void,
): { readonly workers: ByteWorkers; readonly watch: Disposable } {
  const end = (cause: 'workers' | 'stuck-worker', error: WeirError, message: string): void => {
    logger.fatal({ err: error }, message);
    crash(cause);
  };
  const workers = new ByteWorkers({
    count: workerCount(config['node.workers']),
    onLost: (error) => logger.error({ err: error }, 'a byte worker has ended; another takes its place'),
  });
  const watch = new WorkerWatch({
    workers,
    hangTimeout: config['mirror.hang-timeout'],
    onHung: (error) => logger.error({ err: error }, 'a byte worker hangs: it is ended'),
    onStuck: (error) => end('stuck-worker', error, 'a byte worker hangs and cannot be ended: the node ends'),
    onMany: (error) => end('workers', error, 'byte workers end again and again: the node ends'),
  });
  return { workers, watch };
}
