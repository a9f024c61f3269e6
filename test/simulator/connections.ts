/**
 * The connections of a simulated node to other members. As in the daemon, the first message in either direction opens
 * one, and it is closed after a time without messages. A pair that has only asked for chunks has data connections
 * alone, which are closed sooner (transfer/member-connections.ts). Such a pair counts as long as one with a control
 * connection, so the figures are an upper bound. The few connections that gossip needs are not counted.
 */
import { LIMITS } from '../../src/transfer/limits.ts';

/** Milliseconds. */
const IDLE = LIMITS.idle;

interface Pair {
  readonly ends: readonly [Connections, Connections];
  /** Milliseconds. */
  usedAt: number;
  /** A message has gone over it: it has a control connection. */
  hasControl: boolean;
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

  /** A request for a chunk goes to `other` at the instant `now`. */
  use(other: Connections, now: number): void {
    this.#pairWith(other, now);
  }

  /** A message goes to `other` at the instant `now`. @returns whether it takes a new control connection */
  send(other: Connections, now: number): boolean {
    const pair = this.#pairWith(other, now);
    const isNew = !pair.hasControl;
    pair.hasControl = true;
    return isNew;
  }

  #pairWith(other: Connections, now: number): Pair {
    const known = this.#open.get(other.#number);
    if (known !== undefined) {
      known.usedAt = now;
      return known;
    }
    const pair: Pair = { ends: [this, other], usedAt: now, hasControl: false };
    this.#add(other, pair, now);
    other.#add(this, pair, now);
    return pair;
  }

  /** Whether one to `other` is open; does not look for how long it has been idle. */
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
