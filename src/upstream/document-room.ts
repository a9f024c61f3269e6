/**
 * Memory for documents that are held whole, manifests and lists: while they come in, and while a slow client or member
 * takes them.
 * Small ones are free, as the number of requests bounds them. Large ones, of which an honest image has few, share this
 * room, so that a registry of somebody's own cannot fill a node's memory with them.
 */
import { KIB, MIB } from '../util/clock.ts';
import { WeirError } from '../util/errors.ts';

/** Bytes of each document that are not counted. */
const FREE = 64 * KIB;
/** Bytes of all together. */
const LIMIT = 64 * MIB;

export interface HeldDocument extends Disposable {
  /** It has so many bytes by now. @returns whether they have room; if not, none is taken */
  tryGrow(length: number): boolean;
  /** The same. @throws WeirError `too_many_requests` where they have no room */
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

  /** A document that is held until it is disposed of. */
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
