/**
 * How many chunks all members together fetch from upstream at a time. If the registry limits each connection, more
 * connections bring more; if its uplink is the limit, they only delay each chunk. So the window grows while that raises
 * the rate at which chunks enter the cluster, and shrinks back if it does not.
 */
import { WINDOW_SAMPLE_CHUNKS, WINDOW_GROWTH, WINDOW_WORTHWHILE_GAIN } from './parameters.ts';
import type { Scheduler } from './scheduler.ts';

export class AdaptiveWindow {
  readonly #least: number;
  readonly #most: number;
  readonly #scheduler: Pick<Scheduler, 'now'>;
  #size: number;
  #count = 0;
  #since: number;
  /** Chunks per millisecond before the last growth; undefined before the first measurement. */
  #before: number | undefined;
  #settled = false;

  constructor(least: number, most: number, scheduler: Pick<Scheduler, 'now'>) {
    this.#least = least;
    this.#most = most;
    this.#size = least;
    this.#scheduler = scheduler;
    this.#since = scheduler.now();
  }

  get size(): number {
    return Math.floor(this.#size);
  }

  /** A chunk has entered the cluster. */
  entered(): void {
    if (this.#settled || ++this.#count < WINDOW_SAMPLE_CHUNKS) return;
    const now = this.#scheduler.now();
    const rate = this.#count / Math.max(1, now - this.#since);
    this.#count = 0;
    this.#since = now;
    const isWorthIt = this.#before === undefined || rate > this.#before * WINDOW_WORTHWHILE_GAIN;
    if (!isWorthIt) {
      this.#size = Math.max(this.#least, this.#size / WINDOW_GROWTH);
      this.#settled = true;
    } else if (this.#size >= this.#most) {
      this.#settled = true;
    } else {
      this.#before = rate;
      this.#size = Math.min(this.#most, this.#size * WINDOW_GROWTH);
    }
  }

  /** The registry asks for less. */
  throttled(): void {
    this.#size = this.#least;
    this.#settled = true;
  }
}
