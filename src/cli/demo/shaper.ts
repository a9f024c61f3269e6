/** One bandwidth for all connections of the embedded registry, as on a registry's uplink. */
import { systemClock, type Clock } from '../../util/clock.ts';

/** Milliseconds by which a sender may be ahead: shorter timers are late by more than they wait. */
const BURST = 5;

export class Shaper {
  readonly #rate: number;
  readonly #clock: Clock;
  /** The monotonic time in milliseconds at which all granted bytes are sent. */
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
