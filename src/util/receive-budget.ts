/**
 * Bounds the bytes that this node has received, or requested from a peer, and not written yet. It counts all blobs
 * together, from peers and from registries. Otherwise a network faster than the disk would fill the memory with
 * whole blobs.
 *
 * A taker that gets no room waits in line. Requests to peers are sent later; a registry's connection is not read,
 * and so slows down. No waiter holds room that it could only give back with more room: whole chunks are being
 * written, and their room comes back by itself. So the line always moves.
 */
import { MIB } from './clock.ts';

/** Bytes: a link of 10 Gbit/s brings them in 50 ms. Far fewer keep disk and network busy at the same time. */
export const RECEIVE_BYTES: number = 64 * MIB;

interface Waiter {
  readonly bytes: number;
  /** Called when it is the waiter's turn, and so many bytes are free. */
  readonly proceed: () => void;
}

/** A taker that does not wait, but is woken when it should try again. */
export interface ReceiveShare {
  /** Whether so many bytes may be taken now; if not, `wake` is called when its turn comes. */
  hasRoom(bytes: number): boolean;
  /** Takes them, after {@link hasRoom} in the same turn of the event loop. */
  take(bytes: number): void;
  leave(): void;
}

export interface ReceiveBudgetOptions {
  /** Bytes; default {@link RECEIVE_BYTES}. */
  readonly limit?: number;
  /** Calls back soon, but not at once: the giver is in the middle of its work. */
  readonly later: (callback: () => void) => void;
}

export class ReceiveBudget {
  readonly #limit: number;
  readonly #later: ReceiveBudgetOptions['later'];
  /** In the order in which they came: waiters for few bytes do not overtake one for many. */
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

  /** Whether so many bytes are free, and no waiter wants them. */
  hasRoom(bytes: number): boolean {
    return this.#line.size === 0 && this.#fits(bytes);
  }

  /** Takes the bytes if they are free. */
  tryTake(bytes: number): boolean {
    if (!this.hasRoom(bytes)) return false;
    this.#used += bytes;
    return true;
  }

  /** Takes the bytes, after waiting in line. @throws the signal's reason; nothing is taken then */
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
    this.give(bytes); // it gave up in the moment in which its turn came
    throw signal.reason;
  }

  /** Gives bytes back. */
  give(bytes: number): void {
    this.#used -= bytes;
    this.#call();
  }

  /** @param wake called at the taker's turn, after {@link ReceiveShare.hasRoom} was false */
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

  /** More bytes than the limit fit if no others are taken: otherwise they would wait for ever. */
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
