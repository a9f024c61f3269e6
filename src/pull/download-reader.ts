/**
 * One reader of a {@link Download}. It sees a growing prefix, whose last chunk is held back until the whole digest is
 * right. Blobs up to 32 MiB are held back whole, unless the reader would wait too long for its first byte.
 */
import { MIB, SECOND, type Clock } from '../util/clock.ts';
import { isWeirError, WeirError } from '../util/errors.ts';
import type { Digest } from '../oci/digest.ts';
import type { Ingest } from '../store/store.ts';
import type { Caller } from '../upstream/caller.ts';
import type { Download } from './download.ts';
import type { ByteSource, BlobReader, ReadOptions } from './blob-reader.ts';

/** Blobs up to this are verified whole before their first byte. */
const WHOLE_FIRST_BYTES = 32 * MIB;
/** Milliseconds that a reader waits for a small blob to be whole before it takes the prefix as it grows. */
const WHOLE_FIRST_PATIENCE = 2 * SECOND;
/**
 * The reason with which a wait ends. Made once: an abort without a reason makes an exception with a stack each time.
 */
const OVER = new Error('the wait is over');

export interface DownloadReaderOptions {
  readonly caller: Caller;
  readonly clock: Clock;
  /** Milliseconds without a byte from upstream after which a read fails. */
  readonly stallTimeout: number;
  /** Goes on without the store, after the bytes that have arrived. */
  readonly passThrough: (prefix: Ingest, signal: AbortSignal) => Promise<BlobReader>;
}

export class DownloadReader implements BlobReader {
  readonly #download: Download;
  readonly #options: DownloadReaderOptions;
  readonly #began: number;
  /** The generation of the bytes that this reader has read; undefined before the first. */
  #generation: number | undefined;
  #passThrough: Promise<BlobReader> | undefined;
  /** Ends the wait for this reader's own request to upstream. */
  readonly #leaving: AbortController = new AbortController();
  #closed = false;

  constructor(download: Download, options: DownloadReaderOptions) {
    this.#download = download;
    this.#options = options;
    this.#began = options.clock.monotonic();
    download.addReader(this, options.caller);
  }

  get source(): ByteSource {
    return this.#download.isShared ? 'swarm' : 'upstream';
  }

  get digest(): Digest {
    return this.#download.digest;
  }

  get size(): number {
    return this.#download.ingest.layout.size;
  }

  async read(target: Uint8Array, position: number, options: ReadOptions = {}): Promise<number> {
    const download = this.#download;
    const waitingSince = this.#options.clock.monotonic();
    for (;;) {
      if (this.#passThrough !== undefined) return (await this.#passThrough).read(target, position, options);
      if (this.#generation !== undefined && this.#generation !== download.generation) {
        throw new WeirError(
          'digest_mismatch',
          `the received bytes do not have the digest ${this.digest}; it is fetched again`,
        );
      }
      const { failure } = download;
      const isFull = isWeirError(failure, 'store_full');
      if (failure !== undefined && !isFull) throw failure;
      const visible = this.#visible(position);
      if (visible > 0) {
        this.#generation = download.generation;
        return download.ingest.read(target.subarray(0, Math.min(target.length, visible)), position);
      }
      if (download.committed) return 0;
      if (isFull) this.#passThrough = this.#options.passThrough(download.ingest, this.#leaving.signal);
      else await this.#wait(waitingSince, options.signal);
    }
  }

  /** Number of bytes that may be read now from `position` on. */
  #visible(position: number): number {
    const { ingest, committed } = this.#download;
    const readable = ingest.readable(position);
    if (committed) return readable;
    const { size, lastStart } = ingest.layout;
    const heldBack = this.#wholeFirst && size <= WHOLE_FIRST_BYTES ? 0 : lastStart;
    return Math.max(0, Math.min(readable, heldBack - position));
  }

  get #wholeFirst(): boolean {
    return this.#options.clock.monotonic() - this.#began < WHOLE_FIRST_PATIENCE;
  }

  /** Waits for a change, the end of {@link WHOLE_FIRST_PATIENCE}, or the moment at which it counts as a stall. */
  async #wait(since: number, signal: AbortSignal | undefined): Promise<void> {
    const { clock, stallTimeout } = this.#options;
    const now = clock.monotonic();
    const stallsAt = Math.max(since, this.#download.lastProgress) + stallTimeout;
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
      // One millisecond more than is left: a timer may fire a fraction early, and would have to be set again.
      const timer = clock.sleep(Math.min(stallsAt, patienceEnds) - now + 1, { signal: either });
      timer.catch(() => undefined); // its abort below is no news
      await Promise.race([timer, this.#download.changed(either)]);
    } finally {
      stop.abort(OVER);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#leaving.abort(OVER);
    const passThrough = await this.#passThrough?.catch(() => undefined); // read() has reported it
    await passThrough?.[Symbol.asyncDispose]();
    this.#download.leave(this);
  }
}
