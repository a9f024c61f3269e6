/**
 * A limit on a rate, shared by all who take from it in the order in which they ask.
 *
 * It keeps one number, the time from which on the rate is not yet spent, as the generic cell rate algorithm does
 * (ITU-T I.371, annex A): no queue and no timer of its own. Who takes in small steps shares fairly with others who do.
 */
import { KIB, SECOND, type Clock } from './clock.ts';

/** Bytes that one taker takes at a time: larger steps would let one transfer starve the others for long. */
export const STEP_BYTES: number = 64 * KIB;
/** Milliseconds whose share may be made up for: timers fire late, and what they missed must not be lost. */
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
    // At least one step: a slow limit would otherwise make each of them wait although nobody took anything.
    this.#burst = Math.max(BURST, STEP_BYTES / this.#rate);
  }

  /** Takes `bytes` now, whether they are there or not. @returns milliseconds to wait before they are used */
  reserve(bytes: number): number {
    const now = this.#clock.monotonic();
    this.#spentUntil = Math.max(this.#spentUntil, now - this.#burst) + bytes / this.#rate;
    return Math.max(0, this.#spentUntil - now);
  }

  /** Takes `bytes`, waiting until they are there. @throws the signal's reason */
  async take(bytes: number, { signal }: { readonly signal?: AbortSignal | undefined } = {}): Promise<void> {
    signal?.throwIfAborted();
    const wait = this.reserve(bytes);
    if (wait <= 0) return;
    try {
      await this.#clock.sleep(wait, { signal });
    } catch (error) {
      this.#spentUntil -= bytes / this.#rate; // nobody uses them
      throw error;
    }
  }
}
