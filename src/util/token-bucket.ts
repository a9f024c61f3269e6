/**
 * A limit on a rate, shared by all takers in the order in which they ask, in all threads.
 *
 * It keeps one number: the time until which the rate is spent, as the generic cell rate algorithm does (ITU-T I.371,
 * annex A). So it needs no queue and no timer, and the number may be in memory that threads share. Takers that take
 * small steps share fairly.
 */
import { KIB, SECOND, type Clock } from './clock.ts';

/** Bytes that a taker takes at a time: with larger steps, one transfer would starve the others for long. */
export const STEP_BYTES: number = 64 * KIB;
/** Milliseconds whose share may be taken afterwards: timers fire late, and the share of that time must not be lost. */
const BURST = 50;
/** In a millisecond. */
const NANOSECONDS = 1e6;
/** Before any time: nothing is spent yet. */
const NEVER: bigint = -(2n ** 62n);

export class TokenBucket {
  /** Bytes per millisecond. */
  readonly #rate: number;
  readonly #clock: Clock;
  readonly #burst: number;
  /** Nanoseconds, monotonic: one number, changed by compare and exchange. */
  readonly #spentUntil: BigInt64Array<SharedArrayBuffer>;

  /**
   * @param rate bytes per second, above 0
   * @param clock if threads share the memory, one whose monotonic time is the same in all of them, as `systemClock`'s
   * @param memory of {@link TokenBucket.memory}; default: a bucket of its own
   */
  constructor(rate: number, clock: Clock, memory: SharedArrayBuffer = TokenBucket.memory()) {
    this.#rate = rate / SECOND;
    this.#clock = clock;
    // At least one step: otherwise each step of a slow limit would wait even if nothing else was taken.
    this.#burst = Math.max(BURST, STEP_BYTES / this.#rate);
    this.#spentUntil = new BigInt64Array(memory);
  }

  /** The memory of one limit, which any number of threads keep together. */
  static memory(): SharedArrayBuffer {
    const memory = new SharedArrayBuffer(BigInt64Array.BYTES_PER_ELEMENT);
    new BigInt64Array(memory)[0] = NEVER;
    return memory;
  }

  /** Takes `bytes` now, even if the rate is spent. @returns milliseconds to wait before they may be used */
  reserve(bytes: number): number {
    const now = this.#clock.monotonic();
    const earliest = nanoseconds(now - this.#burst);
    const cost = this.#cost(bytes);
    for (;;) {
      const before = Atomics.load(this.#spentUntil, 0);
      const after = (before > earliest ? before : earliest) + cost;
      if (Atomics.compareExchange(this.#spentUntil, 0, before, after) !== before) continue;
      return Math.max(0, Number(after) / NANOSECONDS - now);
    }
  }

  /** Takes `bytes`, and waits until they may be used. @throws the signal's reason */
  async take(bytes: number, { signal }: { readonly signal?: AbortSignal | undefined } = {}): Promise<void> {
    signal?.throwIfAborted();
    const wait = this.reserve(bytes);
    if (wait <= 0) return;
    try {
      await this.#clock.sleep(wait, { signal });
    } catch (error) {
      Atomics.sub(this.#spentUntil, 0, this.#cost(bytes)); // they are not used
      throw error;
    }
  }

  #cost(bytes: number): bigint {
    return nanoseconds(bytes / this.#rate);
  }
}

/** Rounded up, so that rounding never gives more than the rate. */
function nanoseconds(milliseconds: number): bigint {
  return BigInt(Math.ceil(milliseconds * NANOSECONDS));
}
