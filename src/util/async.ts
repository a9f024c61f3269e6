/** Waiting: for work with other waiters, for events that come again, and between the turns of periodic work. */
import type { Clock } from './clock.ts';

/**
 * Settles as `work` does, or rejects if the signal is aborted first.
 *
 * It listens to `work` from the start, even if the signal is aborted already. `work` may reject later, and a rejection
 * without a listener would end the whole process, with all other pulls.
 * @param reasonOf the error of an abort; default: the signal's reason
 */
export async function abortable<T>(
  work: Promise<T>,
  signal: AbortSignal | undefined,
  reasonOf: (signal: AbortSignal) => unknown = ({ reason }) => reason,
): Promise<T> {
  if (signal === undefined) return work;
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(reasonOf(signal));
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort(); // the event has passed
  try {
    return await Promise.race([aborted, work]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/** Joins the work of this `key` that is under way, or begins it. A waiter that gives up does not end it. */
export function shared<T>(works: Map<string, Promise<T>>, key: string, begin: () => Promise<T>): Promise<T> {
  let work = works.get(key);
  if (work === undefined) {
    work = begin().finally(() => works.delete(key));
    work.catch(() => undefined); // every waiter may have given up
    works.set(key, work);
  }
  return work;
}

/** An event that comes again and again, for any number of waiters. */
export class Bell {
  #waiting: PromiseWithResolvers<void> = Promise.withResolvers();

  /** Settles at the next {@link ring}. */
  get next(): Promise<void> {
    return this.#waiting.promise;
  }

  ring(): void {
    const rung = this.#waiting;
    this.#waiting = Promise.withResolvers();
    rung.resolve();
  }
}

/** Periodic work. */
export interface Repetition {
  /** Milliseconds before the next turn, by the number of turns so far; each wait is up to a fifth shorter or longer. */
  readonly interval: (turn: number) => number;
  readonly work: () => Promise<void> | void;
  readonly onError: (error: unknown) => void;
}

/**
 * Repeats the work until the signal is aborted. Never throws. Jitter keeps nodes that started together from working
 * at the same moment.
 */
export async function repeat(
  clock: Clock,
  signal: AbortSignal,
  { interval, work, onError }: Repetition,
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

/** Waits for the work, for at most `ms` milliseconds. */
export async function within(ms: number, work: Promise<unknown>): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  await Promise.race([work, promise]);
  clearTimeout(timer);
}

/** Settles when the signal is aborted. */
export async function whenAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  signal.addEventListener('abort', () => resolve(), { once: true });
  await promise;
}
