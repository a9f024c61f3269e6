/** Work and events that many wait for. */

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
