/**
 * One reader of a {@link Download}. It sees a growing prefix, whose last chunk is held back until the whole digest is
 * right. Blobs up to 32 MiB are held back whole, unless the reader would wait too long for its first byte.
 */
import { MIB, SECOND, type Clock } from '../util/clock.ts';
import { WeirError } from '../util/errors.ts';
import type { Digest } from '../oci/digest.ts';
import { cannotKeep, type Ingest } from '../store/store.ts';
import { Progress } from '../util/progress.ts';
import type { Caller } from '../upstream/caller.ts';
import type { BlobOrigin } from './blob-origin.ts';
import type { Download } from './download.ts';
import type { BodyTarget, ByteSource, BlobReader } from './blob-reader.ts';
import { NO_ROUTE_PATIENCE } from '../swarm/parameters.ts';
import { OVER, sendWatched } from './watched-send.ts';

/** Blobs up to this are verified whole before their first byte. */
const WHOLE_FIRST_BYTES = 32 * MIB;
/** Milliseconds that a reader waits for a small blob to be whole before it takes the prefix as it grows. */
const WHOLE_FIRST_PATIENCE = 2 * SECOND;
/** Milliseconds after which a waiting reader looks again: the wait for shared memory cannot be ended otherwise. */
const LOOK_AGAIN = 1 * SECOND;
/** Milliseconds by which a timer is late if the process was stopped (a paused machine, SIGSTOP), and not only busy. */
const STOPPED = 3 * SECOND;
export interface DownloadReaderOptions {
  readonly caller: Caller;
  readonly clock: Clock;
  /** Milliseconds without a byte from upstream after which a reader fails. */
  readonly stallTimeout: number;
  /** Whether bytes of this blob turned out wrong a short while ago: then none goes out before all are right. */
  readonly wasWrong: () => boolean;
  /** Goes on without the store, after the bytes that have arrived. */
  readonly passThrough: (prefix: Ingest, signal: AbortSignal) => Promise<BlobReader>;
}

export class DownloadReader implements BlobReader {
  readonly #download: Download;
  readonly #options: DownloadReaderOptions;
  readonly #began: number;
  /** The generation of the bytes that this reader has sent; undefined before the first. */
  #generation: number | undefined;
  #passThrough: Promise<BlobReader> | undefined;
  /** Monotonic milliseconds until which this process was stopped. */
  #stoppedUntil = -Infinity;
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

  get origin(): BlobOrigin {
    const { origin } = this.#download;
    if (this.#passThrough === undefined) return origin;
    // What the disk had no room for came from the registry.
    const registry = Math.max(0, this.size - origin.store - origin.peers);
    return { ...origin, registry, passedThrough: true };
  }

  get digest(): Digest {
    return this.#download.digest;
  }

  get size(): number {
    return this.#download.ingest.layout.size;
  }

  async ready(start: number, signal?: AbortSignal): Promise<void> {
    const download = this.#download;
    const waitingSince = this.#options.clock.monotonic();
    for (;;) {
      const { mark } = this.#progress;
      if (this.#passThrough !== undefined) return (await this.#passThrough).ready(start, signal);
      if (this.#generation !== undefined && this.#generation !== download.generation) {
        throw new WeirError(
          'digest_mismatch',
          `the received bytes do not have the digest ${this.digest}; it is fetched again`,
        );
      }
      const { failure } = download;
      const isFull = cannotKeep(failure);
      if (failure !== undefined && !isFull) throw failure;
      if (this.#visible(start) > 0 || download.committed) return;
      if (isFull) this.#passThrough = this.#options.passThrough(download.ingest, this.#leaving.signal);
      else await this.#wait(waitingSince, mark, signal);
    }
  }

  async sendTo(target: BodyTarget, start: number, end: number): Promise<void> {
    for (let position = start; position < end;) {
      await this.ready(position, target.gone);
      if (this.#passThrough !== undefined) return (await this.#passThrough).sendTo(target, position, end);
      position = await this.#send(target, position, end);
    }
  }

  /**
   * Sends what a byte worker finds in the ingest's file, until the download has changed.
   * @returns the position behind the last byte
   */
  async #send(target: BodyTarget, start: number, end: number): Promise<number> {
    const download = this.#download;
    const { generation, ingest, failure } = download;
    // Without room nothing more will come: what is here is sent, and the rest is passed through.
    const most = failure === undefined ? end : Math.min(end, start + this.#visible(start));
    const stop = new AbortController();
    const sent = download.sends.begin(() => stop.abort(OVER));
    try {
      const { position, stalledAt } = await sendWatched(target, {
        content: ingest.content,
        start,
        end: most,
        stop,
        untilStalled: (at, over) => this.#untilStalled(at, over),
      });
      if (position > start) this.#generation ??= generation;
      if (stalledAt === position) throw this.#stall();
      return position;
    } catch (error) {
      // Bytes may have left, also if it is not known how many.
      if (target.bytesSent > 0) this.#generation ??= generation;
      throw error;
    } finally {
      sent();
    }
  }

  /** Whether a byte that a body waits for does not come in time. Never rejects. */
  async #untilStalled(position: number, over: AbortSignal): Promise<boolean> {
    const { clock } = this.#options;
    const since = clock.monotonic();
    while (!over.aborted && this.#visible(position) === 0) {
      const left = this.#stallsAt(since) - clock.monotonic();
      if (left <= 0) return true;
      const due = performance.now() + left + 1;
      await clock.sleep(left + 1, { signal: over }).catch(() => undefined);
      this.#woke(due);
    }
    return false;
  }

  #stallsAt(since: number): number {
    return Math.max(since, this.#download.lastProgress, this.#stoppedUntil) + this.#stallTimeout;
  }

  /**
   * If this process was stopped meanwhile, what came has not been read yet: the wait begins anew.
   * @param due the time of `performance.now()` at which the wait was to end
   */
  #woke(due: number): void {
    if (performance.now() - due > STOPPED) this.#stoppedUntil = this.#options.clock.monotonic();
  }

  #stall(): WeirError {
    const message = `nothing of ${this.digest} came for ${this.#stallTimeout / SECOND} s`;
    return new WeirError('upstream_stalled', message);
  }

  /** Milliseconds. A reader that is sent away while this machine is cut off finds nobody. */
  get #stallTimeout(): number {
    const { stallTimeout } = this.#options;
    return this.#download.isCutOff ? Math.max(stallTimeout, NO_ROUTE_PATIENCE) : stallTimeout;
  }

  /** Number of bytes that may be read now from `position` on. */
  #visible(position: number): number {
    const { ingest, committed } = this.#download;
    const readable = ingest.readable(position);
    if (committed) return readable;
    const { size, lastStart } = ingest.layout;
    const isWhole = (this.#wholeFirst && size <= WHOLE_FIRST_BYTES) || this.#options.wasWrong();
    const heldBack = isWhole ? 0 : lastStart;
    return Math.max(0, Math.min(readable, heldBack - position));
  }

  get #progress(): Progress {
    return new Progress(this.#download.ingest.content.progress);
  }

  get #wholeFirst(): boolean {
    return this.#options.clock.monotonic() - this.#began < WHOLE_FIRST_PATIENCE;
  }

  /** Waits for a change, the end of {@link WHOLE_FIRST_PATIENCE}, or the moment at which it counts as a stall. */
  async #wait(since: number, mark: number, signal: AbortSignal | undefined): Promise<void> {
    const { clock } = this.#options;
    const now = clock.monotonic();
    const stallsAt = this.#stallsAt(since);
    if (now >= stallsAt) throw this.#stall();
    const patienceEnds = this.#wholeFirst ? this.#began + WHOLE_FIRST_PATIENCE : stallsAt;
    const stop = new AbortController();
    const either = signal === undefined ? stop.signal : AbortSignal.any([stop.signal, signal]);
    try {
      // One millisecond more than is left: a timer may fire a fraction early, and would have to be set again.
      const wait = Math.min(stallsAt, patienceEnds) - now + 1;
      const due = performance.now() + wait;
      const timer = clock.sleep(wait, { signal: either });
      timer.catch(() => undefined); // its abort below is no news
      await Promise.race([
        timer,
        this.#download.changed(either),
        this.#progress.changed(mark, Math.min(wait, LOOK_AGAIN)),
      ]);
      this.#woke(due);
    } finally {
      stop.abort(OVER);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#leaving.abort(OVER);
    const passThrough = await this.#passThrough?.catch(() => undefined); // ready() has reported it
    await passThrough?.[Symbol.asyncDispose]();
    this.#download.leave(this);
  }
}
