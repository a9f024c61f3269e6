/**
 * The connections of a simulated node to other members. As in the daemon, the first message or request in either direction
 * opens one, which carries all in both directions, and it is closed after a time without any. The few connections of libp2p
 * are not counted.
 */
import { LIMITS } from '../../src/transfer/limits.ts';

/** Milliseconds. */
const IDLE = LIMITS.idle;

interface Pair {
  readonly ends: readonly [Connections, Connections];
  /** Milliseconds. */
  usedAt: number;
  /** Milliseconds: from when on something can be sent. */
  openAt: number;
}

export class Connections {
  /** The most that were open at one time. */
  most = 0;
  /** By the number of the other node. */
  readonly #open: Map<number, Pair> = new Map();
  readonly #number: number;
  /** When the pair that has been idle longest is looked at again. */
  #sweepAt: number = IDLE;

  /** @param number of the node, unique */
  constructor(number: number) {
    this.#number = number;
  }

  /**
   * Something goes to `other` at the instant `now`.
   * @param opening opens the connection, if there is none. @returns milliseconds that this takes
   * @returns milliseconds until it can be sent
   */
  use(other: Connections, now: number, opening: () => number): number {
    const known = this.#open.get(other.#number);
    if (known !== undefined) {
      known.usedAt = now;
      return Math.max(0, known.openAt - now);
    }
    const pair: Pair = { ends: [this, other], usedAt: now, openAt: now + opening() };
    this.#add(other, pair, now);
    other.#add(this, pair, now);
    return pair.openAt - now;
  }

  /** Whether one to `other` is open, or is being opened; does not look for how long it has been idle. */
  has(other: Connections): boolean {
    return this.#open.has(other.#number);
  }

  /** How many are open at the instant `now`. */
  count(now: number): number {
    this.#sweep(now);
    return this.#open.size;
  }

  /** The node is gone, and so are its connections. */
  close(): void {
    for (const pair of this.#open.values()) this.#close(pair);
  }

  #add(other: Connections, pair: Pair, now: number): void {
    if (now >= this.#sweepAt) this.#sweep(now);
    this.#open.set(other.#number, pair);
    this.most = Math.max(this.most, this.#open.size);
  }

  #sweep(now: number): void {
    let oldest = now;
    for (const pair of this.#open.values()) {
      if (now - pair.usedAt < IDLE) oldest = Math.min(oldest, pair.usedAt);
      else this.#close(pair);
    }
    this.#sweepAt = oldest + IDLE;
  }

  #close({ ends: [one, other] }: Pair): void {
    one.#open.delete(other.#number);
    other.#open.delete(one.#number);
  }
}
