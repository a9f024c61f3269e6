/** One bandwidth shared by all connections of the embedded registry, as a registry's uplink is. */
import { systemClock, type Clock } from '../../util/clock.ts';

/** Milliseconds that a sender may be ahead: timers of less are late by more than they wait. */
const BURST = 5;

export class Shaper {
  readonly #rate: number;
  readonly #clock: Clock;
  /** When all bytes granted so far are through, in the clock's milliseconds. */
  #free = 0;

  /** @param rate bytes per second; Infinity: no limit */
  constructor(rate: number, clock: Clock = systemClock) {
    this.#rate = rate;
    this.#clock = clock;
  }

  /** Resolves when `bytes` more may be sent: first come, first served. */
  async take(bytes: number, options: { readonly signal?: AbortSignal | undefined } = {}): Promise<void> {
    if (this.#rate === Infinity) return;
    const now = this.#clock.monotonic();
    this.#free = Math.max(now, this.#free) + (bytes / this.#rate) * 1000;
    const wait = this.#free - now;
    if (wait > BURST) await this.#clock.sleep(wait, options);
  }
}
