/**
 * Gathers callbacks that may wait a little. The news of all blobs leaves in the same turn of the event loop. It
 * costs one write for each peer, and one read there.
 */
import type { Scheduler } from './scheduler.ts';

export class TurnBatcher {
  readonly #scheduler: Pick<Scheduler, 'now' | 'after' | 'random'>;
  readonly #shortest: number;
  /** Milliseconds by which this node's batches are shifted from those of others: all at once would be a burst. */
  readonly #phase: number;
  /** The callbacks by the time at which they are due. */
  readonly #due: Map<number, Set<() => void>> = new Map();

  /** @param shortest milliseconds between two batches */
  constructor(scheduler: Pick<Scheduler, 'now' | 'after' | 'random'>, shortest: number) {
    this.#scheduler = scheduler;
    this.#shortest = shortest;
    this.#phase = scheduler.random() * shortest;
  }

  /**
   * Calls back once, with a batch within about `ms` milliseconds; returns a function that stops that. Longer waits end
   * with every second, fourth, eighth … batch, so that they meet.
   */
  within(ms: number, callback: () => void): () => void {
    const step = this.#shortest * 2 ** Math.max(0, Math.round(Math.log2(ms / this.#shortest)));
    const now = this.#scheduler.now();
    const at = (Math.floor((now - this.#phase) / step) + 1) * step + this.#phase;
    let waiting = this.#due.get(at);
    if (waiting === undefined) {
      waiting = new Set();
      this.#due.set(at, waiting);
      this.#scheduler.after(at - now, () => this.#flush(at));
    }
    waiting.add(callback);
    return () => void this.#due.get(at)?.delete(callback);
  }

  #flush(at: number): void {
    const waiting = this.#due.get(at);
    this.#due.delete(at);
    for (const callback of waiting ?? []) callback();
  }
}
