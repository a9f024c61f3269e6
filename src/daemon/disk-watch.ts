/** Looks at the disk of the data folder now and then, so that the store gives way to other programs, and logs its states. */
import { repeat } from '../util/async.ts';
import { SECOND, type Clock } from '../util/clock.ts';
import { errorMessage } from '../util/errors.ts';
import type { Config } from '../config/settings.ts';
import type { DiskChange } from '../store/disk.ts';
import type { FsStoreOptions } from '../store/fs-store-options.ts';
import type { StoreUsage } from '../store/store.ts';
import type { StoreKeeper } from '../store/store-keeper.ts';
import type { Logger } from './logger.ts';

/** Milliseconds. A kubelet looks as often at the disk (10 s) and waits for minutes before it acts again. */
const LOOK_INTERVAL = 30 * SECOND;

/** The options of a store that stand for the disk. */
export function diskOptions(
  config: Config,
  logger: Logger,
): Required<Pick<FsStoreOptions, 'watermarks' | 'onDisk' | 'onWritable'>> {
  const watermarks = { shrinkBelow: config['store.shrink-below'], stopBelow: config['store.stop-below'] };
  return {
    watermarks,
    onDisk: (change) => logChange(logger, change, watermarks),
    onWritable: (problem) => {
      if (problem === undefined) logger.info('the data folder can be written again: blobs are stored');
      else
        logger.warn({ problem }, 'the data folder cannot be written: blobs pass through, and none is stored');
    },
  };
}

/** Whether the log has told already that no blob can be kept: a line for each would hide that. */
export function keepsNothing({ state }: Pick<StoreUsage, 'state'>): boolean {
  return state === 'stopped' || state === 'unwritable';
}

/** Watches until it is disposed of. */
export function watchDisk(keeper: StoreKeeper, clock: Clock, logger: Logger): Disposable {
  const done = new AbortController();
  let isFailing = false;
  void repeat(clock, done.signal, {
    interval: () => LOOK_INTERVAL,
    work: async () => {
      await keeper.keepDiskFree();
      isFailing = false;
    },
    onError: (error) => {
      if (!isFailing)
        logger.warn({ problem: errorMessage(error) }, 'the disk of the data folder cannot be looked at');
      isFailing = true;
    },
  });
  return { [Symbol.dispose]: () => done.abort() };
}

function logChange(
  logger: Logger,
  { from, to, free }: DiskChange,
  { shrinkBelow, stopBelow }: { readonly shrinkBelow: number; readonly stopBelow: number },
): void {
  const facts = { free: `${free.toFixed(1)}%` };
  if (to === 'stopped') {
    logger.warn(
      { ...facts, 'store.stop-below': `${stopBelow}%` },
      'the disk is almost full: nothing new is stored, and blobs pass through',
    );
  } else if (to === 'normal') {
    logger.info(facts, 'the disk has space again: the store may grow up to its quota');
  } else if (from === 'stopped') {
    logger.info(
      { ...facts, 'store.shrink-below': `${shrinkBelow}%` },
      'the disk has some space again: blobs are stored in the place of others',
    );
  } else {
    logger.warn(
      { ...facts, 'store.shrink-below': `${shrinkBelow}%` },
      'the disk is filling up: the store shrinks',
    );
  }
}
