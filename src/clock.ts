/**
 * Time and chance, handed in: what decides (retries, expiry, eviction) reads them from here, so that tests
 * and the simulator can drive the same code.
 */
import { setTimeout as delay } from 'node:timers/promises';

export interface Clock {
  /** Milliseconds since the Unix epoch; for expiry that must survive a restart. */
  now(): number;
  /** Milliseconds that never go backwards; for measuring. */
  monotonic(): number;
  /** Resolves after `ms` milliseconds; rejects with the signal's reason when that is aborted first. */
  sleep(ms: number, options?: { readonly signal?: AbortSignal | undefined }): Promise<void>;
  /** A number in [0, 1). */
  random(): number;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  sleep: async (ms, options = {}) => {
    try {
      await delay(ms, undefined, options.signal ? { signal: options.signal } : {});
    } catch (error) {
      options.signal?.throwIfAborted();
      throw error;
    }
  },
  random: () => Math.random(),
};

export const MILLISECOND = 1;
export const SECOND: number = 1000 * MILLISECOND;
export const MINUTE: number = 60 * SECOND;
export const HOUR: number = 60 * MINUTE;

export const KIB = 1024;
export const MIB: number = 1024 * KIB;
export const GIB: number = 1024 * MIB;
