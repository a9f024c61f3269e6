/** One reader of a {@link Flight}. */
import { SECOND, type Clock } from '../util/clock.ts';
import { isWeirError, WeirError } from '../util/errors.ts';
import type { Digest } from '../oci/digest.ts';
import type { Ingest } from '../store/store.ts';
import type { Caller } from '../upstream/caller.ts';
import { WHOLE_FIRST_PATIENCE, type Flight } from './download.ts';
import type { ByteSource, Reading, ReadOptions } from './blob-reader.ts';

/** Why a wait ends; made once, because an abort without a reason makes an exception with its stack each time. */
const OVER = new Error('the wait is over');

export interface FlightReadingOptions {
  readonly caller: Caller;
  readonly clock: Clock;
  /** Milliseconds without a byte from upstream after which the reading fails. */
  readonly stallTimeout: number;
  /** Goes on without the store, from what has arrived. */
  readonly goThrough: (prefix: Ingest, signal: AbortSignal) => Promise<Reading>;
}

export class FlightReading implements Reading {
  readonly #flight: Flight;
  readonly #options: FlightReadingOptions;
  readonly #began: number;
  /** The generation of the bytes that this reader has had; undefined before the first. */
  #generation: number | undefined;
  #through: Promise<Reading> | undefined;
  /** Ends the wait for a request of its own. */
  readonly #leaving: AbortController = new AbortController();
  #closed = false;

  constructor(flight: Flight, options: FlightReadingOptions) {
    this.#flight = flight;
    this.#options = options;
    this.#began = options.clock.monotonic();
    flight.board(this, options.caller);
  }

  get source(): ByteSource {
    return this.#flight.isShared ? 'swarm' : 'upstream';
  }

  get digest(): Digest {
    return this.#flight.digest;
  }

  get size(): number {
    return this.#flight.ingest.layout.size;
  }

  async read(target: Uint8Array, position: number, options: ReadOptions = {}): Promise<number> {
    const flight = this.#flight;
    const waitingSince = this.#options.clock.monotonic();
    for (;;) {
      if (this.#through !== undefined) return (await this.#through).read(target, position, options);
      if (this.#generation !== undefined && this.#generation !== flight.generation) {
        throw new WeirError(
          'digest_mismatch',
          `what was received is not ${this.digest}; it is fetched again`,
        );
      }
      const { failure } = flight;
      const isFull = isWeirError(failure, 'store_full');
      if (failure !== undefined && !isFull) throw failure;
      const visible = flight.visible(position, this.#wholeFirst);
      if (visible > 0) {
        this.#generation = flight.generation;
        return flight.ingest.read(target.subarray(0, Math.min(target.length, visible)), position);
      }
      if (flight.committed) return 0;
      if (isFull) this.#through = this.#options.goThrough(flight.ingest, this.#leaving.signal);
      else await this.#wait(waitingSince, options.signal);
    }
  }

  get #wholeFirst(): boolean {
    return this.#options.clock.monotonic() - this.#began < WHOLE_FIRST_PATIENCE;
  }

  /** Waits for a change, the end of the patience for small blobs, or the moment when it counts as a stall. */
  async #wait(since: number, signal: AbortSignal | undefined): Promise<void> {
    const { clock, stallTimeout } = this.#options;
    const now = clock.monotonic();
    const stallsAt = Math.max(since, this.#flight.lastProgress) + stallTimeout;
    if (now >= stallsAt) {
      throw new WeirError(
        'upstream_stalled',
        `nothing of ${this.digest} came for ${stallTimeout / SECOND} s`,
      );
    }
    const patienceEnds = this.#wholeFirst ? this.#began + WHOLE_FIRST_PATIENCE : stallsAt;
    const stop = new AbortController();
    const either = signal === undefined ? stop.signal : AbortSignal.any([stop.signal, signal]);
    try {
      // One millisecond more than is left: a timer may fire a fraction early, and would then be set again.
      const timer = clock.sleep(Math.min(stallsAt, patienceEnds) - now + 1, { signal: either });
      timer.catch(() => undefined); // its abort below is no news
      await Promise.race([timer, this.#flight.changed(either)]);
    } finally {
      stop.abort(OVER);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#leaving.abort(OVER);
    const through = await this.#through?.catch(() => undefined); // read() has reported it
    await through?.[Symbol.asyncDispose]();
    this.#flight.leave(this);
  }
}
