/** Waiting: for work that others wait for too, for events that come again, and between the turns of what is periodic. */
import type { Clock } from './clock.ts';

/**
 * Settles as `work` does, or rejects when the signal is aborted first.
 *
 * `work` is listened to from the first moment on, also where the signal is aborted already. It may reject later, when
 * nobody is left: a rejection that nobody listens to would end the whole process, and with it the pulls of all others.
 * @param reasonOf what it rejects with then; default: the signal's reason
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

/** The work under `key` that is under way, else begins it. A waiter that gives up does not end it. */
export function shared<T>(works: Map<string, Promise<T>>, key: string, begin: () => Promise<T>): Promise<T> {
  let work = works.get(key);
  if (work === undefined) {
    work = begin().finally(() => works.delete(key));
    work.catch(() => undefined); // every waiter may have given up
    works.set(key, work);
  }
  return work;
}

/** One event that many wait for, again and again. */
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

/** Work that is done again and again. */
export interface Repetition {
  /** Milliseconds before the next turn, given how many there were; each wait is up to a fifth shorter or longer. */
  readonly interval: (turn: number) => number;
  readonly work: () => Promise<void> | void;
  readonly onError: (error: unknown) => void;
}

/**
 * Repeats the work until the signal is aborted. Never throws. The jitter keeps nodes that started together from working in
 * step.
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

/** Waits for the work, at most `ms` milliseconds. */
export async function within(ms: number, work: Promise<unknown>): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  await Promise.race([work, promise]);
  clearTimeout(timer);
}
