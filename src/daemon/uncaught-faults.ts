/**
 * Handles failures that no code caught. docs/adr/0031-uncaught-failures.md has the reasons.
 *
 *   an unhandled rejection   is logged and counted; the node goes on
 *   an uncaught exception    is logged, and the node ends at once: it may have left something half done
 */
import type { EventEmitter } from 'node:events';
import { SECOND } from '../util/clock.ts';
import { toError } from '../util/errors.ts';
import type { Logger } from './logger.ts';

/** Milliseconds between two lines: a caller that can cause one such failure can cause thousands a second. */
const LOG_INTERVAL = 1 * SECOND;

export interface FaultsOptions {
  /** This process; tests hand in their own. */
  readonly process: Pick<EventEmitter, 'on' | 'off'>;
  readonly logger: Pick<Logger, 'error' | 'fatal'>;
  readonly now: () => number;
  /** Called for each rejection. */
  readonly onRejection: () => void;
  /** Ends the process. */
  readonly end: () => void;
}

/** Handles both until it is disposed, instead of Node.js, which would end the process for either. */
export function watchFaults(options: FaultsOptions): Disposable {
  const { process, logger, now, onRejection, end } = options;
  let loggedAt = -Infinity;
  let unlogged = 0;
  const rejected = (reason: unknown): void => {
    onRejection();
    if (now() - loggedAt < LOG_INTERVAL) {
      unlogged++;
      return;
    }
    const more = unlogged === 0 ? {} : { unlogged };
    logger.error(
      { err: reason, stack: toError(reason).stack, ...more },
      'unhandled rejection: the node goes on',
    );
    loggedAt = now();
    unlogged = 0;
  };
  const thrown = (error: unknown): void => {
    // At this level pino writes all its lines before it returns.
    logger.fatal({ err: error, stack: toError(error).stack }, 'uncaught exception: the node ends');
    end();
  };
  process.on('unhandledRejection', rejected);
  process.on('uncaughtException', thrown);
  return {
    [Symbol.dispose]: () => {
      process.off('unhandledRejection', rejected);
      process.off('uncaughtException', thrown);
    },
  };
}
