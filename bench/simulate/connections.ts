/**
 * With whom a simulated node has a connection open: as in the daemon, one is made at the first word to a member, in
 * either direction, and closed when nothing was said over it for a while. A pair that has only asked for pieces has data
 * connections alone, which are closed sooner (transfer/member-connections.ts); it counts for as long as one with a
 * control connection, so that the figures are an upper bound. The handful that gossip needs is not counted.
 */
import { IDLE_CONNECTION, IDLE_STREAM } from '../../src/host/limits.ts';

/** Milliseconds: first the idle control stream is closed, then the connection without a stream. */
const IDLE: number = IDLE_STREAM + IDLE_CONNECTION;

interface Pair {
  /** Milliseconds. */
  usedAt: number;
}

export class Connections {
  /** The most that were open at one time. */
  most = 0;
  readonly #open: Map<Connections, Pair> = new Map();
  /** When the pair that is idle for longest is looked at again. */
  #sweepAt: number = IDLE;

  /** A word goes to `other` at the instant `now`. */
  use(other: Connections, now: number): void {
    const known = this.#open.get(other);
    if (known !== undefined) {
      known.usedAt = now;
      return;
    }
    const pair: Pair = { usedAt: now };
    this.#add(other, pair, now);
    other.#add(this, pair, now);
  }

  /** Whether one with `other` is open, as far as is known without looking at how long it has been idle. */
  has(other: Connections): boolean {
    return this.#open.has(other);
  }

  /** How many are open at the instant `now`. */
  count(now: number): number {
    this.#sweep(now);
    return this.#open.size;
  }

  /** The node is gone, and so are its connections. */
  close(): void {
    for (const other of this.#open.keys()) other.#open.delete(this);
    this.#open.clear();
  }

  #add(other: Connections, pair: Pair, now: number): void {
    if (now >= this.#sweepAt) this.#sweep(now);
    this.#open.set(other, pair);
    this.most = Math.max(this.most, this.#open.size);
  }

  #sweep(now: number): void {
    let oldest = now;
    for (const [other, { usedAt }] of this.#open) {
      if (now - usedAt < IDLE) {
        oldest = Math.min(oldest, usedAt);
        continue;
      }
      this.#open.delete(other);
      other.#open.delete(this);
    }
    this.#sweepAt = oldest + IDLE;
  }
}
