/**
 * Bounds the memory for documents that are held whole (manifests and lists), while they arrive and while a slow
 * client or member reads them. Small ones are free, as the number of requests bounds them. Large ones, of which an
 * honest image has few, share this room. Otherwise a malicious registry could fill a node's memory with them.
 */
import { KIB, MIB } from '../util/clock.ts';
import { WeirError } from '../util/errors.ts';

/** Bytes of each document that do not count. */
const FREE = 64 * KIB;
/** Bytes of all documents together. */
const LIMIT = 64 * MIB;

export interface HeldDocument extends Disposable {
  /** Sets its length so far. @returns whether there is room; if not, nothing is taken */
  tryGrow(length: number): boolean;
  /** The same. @throws WeirError `too_many_requests` if there is no room */
  grow(length: number): void;
}

export class DocumentRoom {
  readonly #limit: number;
  #used = 0;

  constructor(limit: number = LIMIT) {
    this.#limit = limit;
  }

  /** Bytes that are taken. */
  get used(): number {
    return this.#used;
  }

  /** Reserves room for a document until it is disposed of. */
  hold(): HeldDocument {
    let taken = 0;
    const tryGrow = (length: number): boolean => {
      const wanted = Math.max(0, length - FREE);
      const used = this.#used - taken + wanted;
      if (wanted > taken && used > this.#limit) return false;
      this.#used = used;
      taken = wanted;
      return true;
    };
    return {
      tryGrow,
      grow: (length) => {
        if (tryGrow(length)) return;
        const message = `large manifests and lists already take ${this.#limit} bytes of memory`;
        throw new WeirError('too_many_requests', message);
      },
      [Symbol.dispose]: () => void tryGrow(0),
    };
  }
}
