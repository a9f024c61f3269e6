/** Waits until an assertion holds; if it never does, the assertion's own message is the failure. */
import { setTimeout as delay } from 'node:timers/promises';
import { SECOND } from '../../src/util/clock.ts';

/** Milliseconds between two looks. */
const PAUSE = 10;

/**
 * Calls `check` until it throws nothing, and resolves with what it returned.
 * @throws what `check` threw last, once `timeout` milliseconds are over
 */
export async function eventually<T>(check: () => T | Promise<T>, timeout: number = 15 * SECOND): Promise<T> {
  for (const end = performance.now() + timeout; ; await delay(PAUSE)) {
    try {
      return await check();
    } catch (error) {
      if (performance.now() > end) throw error;
    }
  }
}
