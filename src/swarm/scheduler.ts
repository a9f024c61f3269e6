/**
 * Time and random numbers for the policy, with callbacks instead of promises. The simulator runs the same code in
 * virtual time, and must know that nothing is left to run at an instant before it goes on to the next.
 */
import { LATE_TIMER } from './parameters.ts';
import type { Clock } from '../util/clock.ts';

export interface Scheduler {
  /**
   * Milliseconds that never go backwards. Time in which this node was held up, because others had all cores, does not
   * count: bytes that came meanwhile have not been read yet, and no peer is to blame for that.
   */
  now(): number;
  /** A number in [0, 1). */
  random(): number;
  /** Calls back once, after `ms` milliseconds; returns the way to stop that. */
  after(ms: number, callback: () => void): () => void;
}

/** The scheduler of a running node. Its timers do not keep the process alive. */
export function systemScheduler(clock: Clock): Scheduler {
  let heldUp = 0;
  /** The clock's milliseconds up to which `heldUp` is counted. */
  let countedUntil = -Infinity;
  let latest = -Infinity;
  /** @param due the clock's milliseconds at which the timer that fires now was due */
  const fired = (due: number): void => {
    const now = clock.monotonic();
    if (now - due <= LATE_TIMER) return;
    heldUp += Math.max(0, now - Math.max(due, countedUntil));
    countedUntil = now;
  };
  return {
    now: () => (latest = Math.max(latest, clock.monotonic() - heldUp)),
    random: () => clock.random(),
    after: (ms, callback) => {
      if (ms <= 0) {
        const immediate = setImmediate(callback);
        return () => clearImmediate(immediate);
      }
      const due = clock.monotonic() + ms;
      const timer = setTimeout(() => {
        fired(due);
        callback();
      }, ms);
      timer.unref();
      return () => clearTimeout(timer);
    },
  };
}

/** A number between the two, at random. */
export function between(scheduler: Scheduler, [least, most]: readonly [number, number]): number {
  return least + (most - least) * scheduler.random();
}

/** Puts `items` into a random order, in place (Fisher and Yates). */
export function shuffle<T>(items: T[], scheduler: Scheduler): T[] {
  for (let i = items.length - 1; i > 0; i--) {
    const j = Math.floor(scheduler.random() * (i + 1));
    const moved = items[i] as T;
    items[i] = items[j] as T;
    items[j] = moved;
  }
  return items;
}
