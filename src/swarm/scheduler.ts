/**
 * Time and chance for the policy, with callbacks in place of promises: the simulator runs the same code in virtual
 * time, and must know that nothing is left to run at an instant before it goes on to the next.
 */
import type { Clock } from '../clock.ts';

export interface Scheduler {
  /** Milliseconds that never go backwards. */
  now(): number;
  /** A number in [0, 1). */
  random(): number;
  /** Calls back once, after `ms` milliseconds; returns the way to stop that. */
  after(ms: number, callback: () => void): () => void;
}

/** The scheduler of a running node. Its timers do not keep the process alive. */
export function systemScheduler(clock: Clock): Scheduler {
  return {
    now: () => clock.monotonic(),
    random: () => clock.random(),
    after: (ms, callback) => {
      if (ms <= 0) {
        const immediate = setImmediate(callback);
        return () => clearImmediate(immediate);
      }
      const timer = setTimeout(callback, ms);
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
