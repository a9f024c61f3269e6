/**
 * Bytes that this node has received, or asked a peer for, and not written yet: of all blobs together, from peers and from
 * registries alike. A network faster than the disk would fill the memory otherwise, with as much as a blob has bytes.
 *
 * Whoever gets no room waits in line. What is asked of peers is asked later; what a registry sends is not read, so that its
 * connection slows down. Nobody who waits holds something that only more room would set free: whole chunks are being
 * written, and give theirs back by themselves. So the line always moves.
 */
import { MIB } from './clock.ts';

/** Bytes: what a link of 10 Gbit/s brings in 50 ms, far above what keeps disk and network busy at the same time. */
export const RECEIVE_BYTES: number = 64 * MIB;

interface Waiter {
  readonly bytes: number;
  /** It is its turn, and so many bytes are free. */
  readonly proceed: () => void;
}

/** One who does not wait, but is told when it is worth another try. */
export interface ReceiveShare {
  /** Whether so many bytes may be taken now; where they may not, `wake` is called when its turn comes. */
  hasRoom(bytes: number): boolean;
  /** Takes them, after {@link hasRoom} in the same turn of the event loop. */
  take(bytes: number): void;
  leave(): void;
}

export interface ReceiveBudgetOptions {
  /** Bytes; default {@link RECEIVE_BYTES}. */
  readonly limit?: number;
  /** Calls back soon, and not at once: who gives back is in the middle of something. */
  readonly later: (callback: () => void) => void;
}

export class ReceiveBudget {
  readonly #limit: number;
  readonly #later: ReceiveBudgetOptions['later'];
  /** In the order in which they came; who needs much is not passed by those who need little. */
  readonly #line: Set<Waiter> = new Set();
  #used = 0;
  #isCalling = false;

  constructor({ limit = RECEIVE_BYTES, later }: ReceiveBudgetOptions) {
    this.#limit = limit;
    this.#later = later;
  }

  /** Bytes that are taken. */
  get used(): number {
    return this.#used;
  }

  /** Whether so many bytes are free, and nobody waits for them. */
  hasRoom(bytes: number): boolean {
    return this.#line.size === 0 && this.#fits(bytes);
  }

  /** Takes them if they are free. */
  tryTake(bytes: number): boolean {
    if (!this.hasRoom(bytes)) return false;
    this.#used += bytes;
    return true;
  }

  /** Takes them, waiting in line. @throws the signal's reason; nothing is taken then */
  async take(bytes: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.tryTake(bytes)) return;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiter = {
      bytes,
      proceed: (): void => {
        this.#used += bytes;
        resolve();
      },
    };
    const onAbort = (): void => {
      this.#leave(waiter);
      reject(signal.reason);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    this.#line.add(waiter);
    try {
      await promise;
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
    if (!signal.aborted) return;
    this.give(bytes); // its turn came in the moment in which it gave up
    throw signal.reason;
  }

  /** They are free again. */
  give(bytes: number): void {
    this.#used -= bytes;
    this.#call();
  }

  /** @param wake called when it is its turn, after it was told that there is no room */
  join(wake: () => void): ReceiveShare {
    let waiter: Waiter | undefined;
    let isItsTurn = false;
    const proceed = (): void => {
      waiter = undefined;
      isItsTurn = true;
      try {
        wake();
      } finally {
        isItsTurn = false;
      }
    };
    return {
      hasRoom: (bytes) => {
        if (isItsTurn ? this.#fits(bytes) : this.hasRoom(bytes)) return true;
        if (waiter === undefined) this.#line.add((waiter = { bytes, proceed }));
        return false;
      },
      take: (bytes) => void (this.#used += bytes),
      leave: () => {
        if (waiter !== undefined) this.#leave(waiter);
        waiter = undefined;
      },
    };
  }

  /** More than the limit fits where nothing else is there: it would wait for ever. */
  #fits(bytes: number): boolean {
    return this.#used === 0 || this.#used + bytes <= this.#limit;
  }

  #leave(waiter: Waiter): void {
    this.#line.delete(waiter);
    this.#call(); // those behind it may need less
  }

  #call(): void {
    if (this.#isCalling || this.#line.size === 0) return;
    this.#isCalling = true;
    this.#later(() => {
      this.#isCalling = false;
      for (const waiter of this.#line) {
        if (!this.#fits(waiter.bytes)) return;
        this.#line.delete(waiter);
        waiter.proceed();
      }
    });
  }
}
