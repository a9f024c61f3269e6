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

/** Places in the shared memory. */
const SPENT_UNTIL = 0;
const RATE = 1;

export class TokenBucket {
  readonly #clock: Clock;
  /**
   * The time until which the rate is spent (nanoseconds, monotonic), which is changed by compare and exchange; and the rate
   * (bytes per second; 0: no limit), which may be set while others take.
   */
  readonly #memory: BigInt64Array<SharedArrayBuffer>;

  /**
   * @param memory of {@link TokenBucket.memory}
   * @param clock if threads share the memory, one whose monotonic time is the same in all of them, as `systemClock`'s
   */
  constructor(memory: SharedArrayBuffer, clock: Clock) {
    this.#clock = clock;
    this.#memory = new BigInt64Array(memory);
  }

  /**
   * The memory of one limit, which any number of threads keep together.
   * @param rate bytes per second, above 0; undefined: no limit
   */
  static memory(rate?: number): SharedArrayBuffer {
    const memory = new SharedArrayBuffer(2 * BigInt64Array.BYTES_PER_ELEMENT);
    TokenBucket.setRate(memory, rate);
    return memory;
  }

  /** Changes the limit for all that share the memory. Takers that wait already go on to wait as long as they were told. */
  static setRate(memory: SharedArrayBuffer, rate: number | undefined): void {
    const shared = new BigInt64Array(memory);
    const next = rate === undefined ? 0n : BigInt(Math.max(1, Math.round(rate)));
    if (Atomics.exchange(shared, RATE, next) === next && next !== 0n) return;
    Atomics.store(shared, SPENT_UNTIL, NEVER); // what was spent was spent at another rate
  }

  get isLimited(): boolean {
    return Atomics.load(this.#memory, RATE) !== 0n;
  }

  /** Takes `bytes` now, even if the rate is spent. @returns milliseconds to wait before they may be used */
  reserve(bytes: number): number {
    const rate = this.#rate;
    if (rate === 0) return 0;
    const now = this.#clock.monotonic();
    // At least one step: otherwise each step of a slow limit would wait even if nothing else was taken.
    const earliest = nanoseconds(now - Math.max(BURST, STEP_BYTES / rate));
    const cost = nanoseconds(bytes / rate);
    for (;;) {
      const before = Atomics.load(this.#memory, SPENT_UNTIL);
      const after = (before > earliest ? before : earliest) + cost;
      if (Atomics.compareExchange(this.#memory, SPENT_UNTIL, before, after) !== before) continue;
      return Math.max(0, Number(after) / NANOSECONDS - now);
    }
  }

  /** Gives back bytes that were reserved and are not used. */
  giveBack(bytes: number): void {
    const rate = this.#rate;
    if (rate > 0) Atomics.sub(this.#memory, SPENT_UNTIL, nanoseconds(bytes / rate));
  }

  /** Takes `bytes`, and waits until they may be used. @throws the signal's reason */
  take(bytes: number, options: TakeOptions = {}): Promise<void> {
    return takeOf([this], bytes, this.#clock, options);
  }

  /** Bytes per millisecond; 0: no limit. */
  get #rate(): number {
    return Number(Atomics.load(this.#memory, RATE)) / SECOND;
  }
}

/** One limit or several that count the same bytes. */
export type RateLimit = Pick<TokenBucket, 'isLimited' | 'reserve' | 'take'>;

/** All of these limits at once. */
export function limitedBy(buckets: readonly TokenBucket[], clock: Clock): RateLimit {
  return {
    get isLimited() {
      return buckets.some((bucket) => bucket.isLimited);
    },
    reserve: (bytes) => reserveOf(buckets, bytes),
    take: (bytes, options) => takeOf(buckets, bytes, clock, options),
  };
}

export interface TakeOptions {
  readonly signal?: AbortSignal | undefined;
}

function reserveOf(buckets: readonly TokenBucket[], bytes: number): number {
  let wait = 0;
  for (const bucket of buckets) wait = Math.max(wait, bucket.reserve(bytes));
  return wait;
}

async function takeOf(
  buckets: readonly TokenBucket[],
  bytes: number,
  clock: Clock,
  { signal }: TakeOptions = {},
): Promise<void> {
  signal?.throwIfAborted();
  const wait = reserveOf(buckets, bytes);
  if (wait <= 0) return;
  try {
    await clock.sleep(wait, { signal });
  } catch (error) {
    for (const bucket of buckets) bucket.giveBack(bytes);
    throw error;
  }
}

/** Rounded up, so that rounding never gives more than the rate. */
function nanoseconds(milliseconds: number): bigint {
  return BigInt(Math.ceil(milliseconds * NANOSECONDS));
}
