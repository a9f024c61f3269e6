/**
 * A limit on a rate, shared by all takers in the order in which they ask.
 *
 * It keeps one number: the time until which the rate is spent, as the generic cell rate algorithm does (ITU-T I.371,
 * annex A). So it needs no queue and no timer. Takers that take small steps share fairly.
 */
import { KIB, SECOND, type Clock } from './clock.ts';

/** Bytes that a taker takes at a time: with larger steps, one transfer would starve the others for long. */
export const STEP_BYTES: number = 64 * KIB;
/** Milliseconds whose share may be taken afterwards: timers fire late, and the share of that time must not be lost. */
const BURST = 50;

export class TokenBucket {
  /** Bytes per millisecond. */
  readonly #rate: number;
  readonly #clock: Clock;
  readonly #burst: number;
  /** Milliseconds, monotonic. */
  #spentUntil = Number.NEGATIVE_INFINITY;

  /** @param rate bytes per second, above 0 */
  constructor(rate: number, clock: Clock) {
    this.#rate = rate / SECOND;
    this.#clock = clock;
    // At least one step: otherwise each step of a slow limit would wait even if nothing else was taken.
    this.#burst = Math.max(BURST, STEP_BYTES / this.#rate);
  }

  /** Takes `bytes` now, even if the rate is spent. @returns milliseconds to wait before they may be used */
  reserve(bytes: number): number {
    const now = this.#clock.monotonic();
    this.#spentUntil = Math.max(this.#spentUntil, now - this.#burst) + bytes / this.#rate;
    return Math.max(0, this.#spentUntil - now);
  }

  /** Takes `bytes`, and waits until they may be used. @throws the signal's reason */
  async take(bytes: number, { signal }: { readonly signal?: AbortSignal | undefined } = {}): Promise<void> {
    signal?.throwIfAborted();
    const wait = this.reserve(bytes);
    if (wait <= 0) return;
    try {
      await this.#clock.sleep(wait, { signal });
    } catch (error) {
      this.#spentUntil -= bytes / this.#rate; // they are not used
      throw error;
    }
  }
}
