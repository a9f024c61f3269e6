/**
 * How long peers take at present, so that time limits fit the cluster: if all cores of a machine are taken, every
 * answer is late. It works as TCP's retransmission time-out (RFC 6298).
 */
import { RTT_GAIN, RTT_VARIATION_GAIN, RTT_VARIATIONS } from './parameters.ts';

export class RttEstimator {
  readonly #least: number;
  readonly #first: number;
  readonly #most: number;
  #usual = 0;
  #variation = 0;

  /** @param least, most bounds of {@link limit}, in milliseconds; `first` holds before the first measurement */
  constructor(least: number, first: number, most: number) {
    this.#least = least;
    this.#first = first;
    this.#most = most;
  }

  /** It took so many milliseconds. */
  observe(took: number): void {
    if (this.#usual === 0) {
      this.#usual = Math.max(took, Number.MIN_VALUE);
      this.#variation = took / 2;
      return;
    }
    this.#variation += RTT_VARIATION_GAIN * (Math.abs(took - this.#usual) - this.#variation);
    this.#usual += RTT_GAIN * (took - this.#usual);
  }

  /** Milliseconds that it takes, smoothed; 0 before the first measurement. */
  get usual(): number {
    return this.#usual;
  }

  /** Milliseconds after which it takes too long. */
  get limit(): number {
    if (this.#usual === 0) return this.#first;
    // Twice the usual time is not late yet: where all take the same time, the variation is nearly none.
    const beyond = Math.max(this.#usual, RTT_VARIATIONS * this.#variation);
    return Math.min(this.#most, Math.max(this.#least, this.#usual + beyond));
  }
}
