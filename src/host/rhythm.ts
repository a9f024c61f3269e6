/** What is done again and again, until the signal is aborted; and what is not waited for too long. */
import type { Clock } from '../clock.ts';

export interface Rhythm {
  /** Milliseconds before the next turn, given how many there were; each wait is up to a fifth shorter or longer. */
  readonly interval: (turn: number) => number;
  readonly work: () => Promise<void> | void;
  readonly onError: (error: unknown) => void;
}

/** Never throws. The jitter keeps nodes that started together from doing all things together. */
export async function repeat(
  clock: Clock,
  signal: AbortSignal,
  { interval, work, onError }: Rhythm,
): Promise<void> {
  for (let turn = 0; !signal.aborted; turn += 1) {
    try {
      await clock.sleep(interval(turn) * (0.8 + 0.4 * clock.random()), { signal });
      await work();
    } catch (error) {
      if (!signal.aborted) onError(error);
    }
  }
}

/** Waits for the work, but no longer than so many milliseconds. */
export async function within(ms: number, work: Promise<unknown>): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  await Promise.race([work, promise]);
  clearTimeout(timer);
}
