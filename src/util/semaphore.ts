/** A bounded number of places; others are turned away, or wait for their turn. */

/** Gives a place back; to be called once. */
export type Leave = () => void;

export class Semaphore {
  #free: number;
  readonly #waiting: Set<() => void> = new Set();

  constructor(count: number) {
    this.#free = count;
  }

  /** Undefined if all are taken. */
  tryTake(): Leave | undefined {
    if (this.#free === 0) return undefined;
    this.#free--;
    return this.#leave();
  }

  /** The next free place, in the order of requests. @throws the signal's reason */
  async take(signal: AbortSignal | undefined): Promise<Leave> {
    signal?.throwIfAborted();
    const place = this.tryTake();
    if (place !== undefined) return place;
    const { promise, resolve, reject } = Promise.withResolvers<Leave>();
    const onTurn = (): void => resolve(this.#leave());
    const onAbort = (): void => {
      // If its turn has come meanwhile, it has the place, and gives it back.
      if (this.#waiting.delete(onTurn)) reject(signal?.reason);
    };
    this.#waiting.add(onTurn);
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      return await promise;
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }

  #leave(): Leave {
    let left = false;
    return () => {
      if (left) return;
      left = true;
      const [next] = this.#waiting;
      if (next === undefined) {
        this.#free++;
        return;
      }
      this.#waiting.delete(next);
      next();
    };
  }
}
