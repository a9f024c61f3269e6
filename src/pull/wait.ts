/** Waiting for shared work without owning it: a waiter may give up, the work goes on. */

/** Settles as `promise` does, or rejects with the signal's reason when that is aborted first. */
export async function abortable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  signal.throwIfAborted();
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/** The work under `key` that is under way, else begins it; whoever gives up waiting does not end it. */
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
