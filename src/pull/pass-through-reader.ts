/**
 * Serves a blob without storing it, because the disk is full or too small for it. It also serves a
 * caller that may only have bytes that upstream itself delivers to it. One reader has one request to upstream. The bytes
 * go from there to the caller's connection in one byte worker, which hashes them, and holds the last chunk back until the
 * whole digest is right (bytes/pass.ts).
 */
import { abortable } from '../util/async.ts';
import { SECOND } from '../util/clock.ts';
import { isWeirError, toWeirError, WeirError } from '../util/errors.ts';
import { Progress } from '../util/progress.ts';
import type { Digest } from '../oci/digest.ts';
import { ChunkLayout } from '../protocol/chunk-layout.ts';
import type { Ingest } from '../store/store.ts';
import type { PassThroughBlob } from '../upstream/blob-transport.ts';
import type { Upstream } from '../upstream/upstream.ts';
import type { BlobStream } from '../upstream/upstream-blob.ts';
import type { PullRequest } from './access.ts';
import { passedOrigin, type BlobOrigin } from './blob-origin.ts';
import type { BlobReader, BodyTarget } from './blob-reader.ts';
import { OVER, sendWatched } from './watched-send.ts';

export interface PassThroughReaderOptions {
  readonly upstream: Pick<Upstream, 'openBlob' | 'pass'>;
  readonly request: PullRequest;
  readonly digest: Digest;
  /** The bytes that arrived before the disk was full; stays open as long as this reader. */
  readonly prefix?: Ingest | undefined;
  /** Bytes of the blob, if a manifest of the repository lists it. */
  readonly listedSize: number | undefined;
  /** Milliseconds without a byte from upstream after which a reader fails. */
  readonly stallTimeout: number;
  /** The digest is right: upstream has delivered this blob to this caller. */
  readonly onVerified: () => void;
  readonly onClose: () => void;
}

export class PassThroughReader implements BlobReader {
  readonly source = 'upstream';
  readonly size: number;
  readonly #options: PassThroughReaderOptions;
  readonly #stop: AbortController;
  readonly #passing: PassThroughBlob;
  readonly #progress: Progress;
  /** Bytes before it come from the prefix's file. */
  readonly #from: number;
  readonly #run: Promise<void>;
  #lastProgress = performance.now();
  #failure: WeirError | undefined;
  /** Ends the part of the body that is being sent. */
  #interrupt: (() => void) | undefined;
  #closed = false;

  private constructor(
    options: PassThroughReaderOptions,
    stop: AbortController,
    stream: BlobStream,
    from: number,
  ) {
    const { upstream, request, digest, prefix } = options;
    const { size } = stream;
    this.#options = options;
    this.#stop = stop;
    this.#from = from;
    this.size = size;
    const fd = prefix?.content.fd;
    this.#passing = upstream.pass(request.worker, {
      digest,
      size,
      heldBack: size - new ChunkLayout(size).lastStart,
      prefix: fd === undefined || from === 0 ? undefined : { fd, bytes: from },
    });
    this.#progress = new Progress(this.#passing.content.progress);
    this.#run = this.#read(stream);
  }

  static async open(options: PassThroughReaderOptions): Promise<PassThroughReader> {
    const { upstream, request, digest, prefix } = options;
    const start = prefix?.readable(0) ?? 0;
    request.signal?.throwIfAborted(); // otherwise a request would start that nobody waits for
    // The request to upstream must outlive the first-byte deadline, which is part of the caller's signal.
    const stop = new AbortController();
    const { caller, signal, worker } = request;
    const size = prefix?.layout.size ?? options.listedSize;
    const wish = { caller, signal: stop.signal, start, size, worker: (): number | undefined => worker };
    const opening = upstream.openBlob(request.repository, digest, wish);
    try {
      return new PassThroughReader(options, stop, await abortable(opening, signal), start);
    } catch (error) {
      stop.abort();
      throw error;
    }
  }

  get digest(): Digest {
    return this.#options.digest;
  }

  get origin(): BlobOrigin {
    return passedOrigin(this.size, this.#from);
  }

  /** Never rejects. */
  async #read(stream: BlobStream): Promise<void> {
    try {
      await stream.readInto(this.#passing.sink, () => (this.#lastProgress = performance.now()));
      this.#passing.finish();
      await this.#judged();
      if (this.#progress.isWhole) this.#options.onVerified();
      else this.#fail(this.#wrong());
    } catch (error) {
      this.#fail(toWeirError(error));
    }
  }

  /** Settles when the whole digest was found right or wrong. */
  async #judged(): Promise<void> {
    const { signal } = this.#stop;
    for (;;) {
      const { mark } = this.#progress; // before the look, so that no change is missed
      if (this.#progress.isWhole || this.#progress.isWrong) return;
      signal.throwIfAborted();
      await this.#progress.changed(mark, SECOND);
    }
  }

  #fail(failure: WeirError): void {
    this.#failure = failure;
    this.#progress.wake();
    this.#interrupt?.();
  }

  #wrong(): WeirError {
    return new WeirError('digest_mismatch', `the bytes from upstream do not have the digest ${this.digest}`);
  }

  async ready(start: number, signal?: AbortSignal): Promise<void> {
    if (start < this.#from) return; // it is in the file
    this.#passing.skip(start);
    const since = performance.now();
    for (;;) {
      const { mark } = this.#progress;
      signal?.throwIfAborted();
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#visible > start || this.#progress.isWhole) return;
      const left = this.#patience(since);
      if (left <= 0) throw this.#stalled();
      await abortable(this.#progress.changed(mark, left), signal);
    }
  }

  /** Bytes before it may be handed out. */
  get #visible(): number {
    const { heldBack } = this.#passing.content;
    return this.#progress.isWhole ? this.size : Math.min(this.#progress.prefix, this.size - heldBack);
  }

  /** Milliseconds for which a reader that has waited since then goes on waiting. */
  #patience(since: number): number {
    return Math.max(since, this.#lastProgress) + this.#options.stallTimeout - performance.now();
  }

  #stalled(): WeirError {
    const seconds = this.#options.stallTimeout / SECOND;
    return new WeirError('upstream_stalled', `upstream sent nothing for ${seconds} s`);
  }

  async sendTo(target: BodyTarget, start: number, end: number): Promise<void> {
    const { prefix } = this.#options;
    let position = start;
    if (prefix !== undefined && position < this.#from) {
      position = await target.send(prefix.content, position, Math.min(end, this.#from));
    }
    if (position < Math.min(end, this.#from)) throw new WeirError('aborted', 'the partial blob is gone');
    if (position < end) await this.#pass(target, position, end);
  }

  async #pass(target: BodyTarget, start: number, end: number): Promise<void> {
    const stop = new AbortController();
    this.#interrupt = () => stop.abort(OVER);
    if (this.#failure !== undefined) throw this.#failure;
    try {
      const { position, stalledAt } = await sendWatched(target, {
        content: this.#passing.content,
        start,
        end,
        stop,
        untilStalled: (at, over) => this.#untilStalled(at, over),
      });
      if (position === end) return;
      throw (
        this.#failure ??
        (stalledAt !== undefined ? this.#stalled() : new WeirError('aborted', 'the reader was closed'))
      );
    } catch (error) {
      // The byte worker finds it out first.
      throw isWeirError(error, 'store_corrupt') ? this.#wrong() : error;
    } finally {
      this.#interrupt = undefined;
    }
  }

  /** Whether a byte that the body waits for does not come in time. Never rejects. */
  async #untilStalled(position: number, over: AbortSignal): Promise<boolean> {
    const since = performance.now();
    while (!over.aborted && this.#visible <= position) {
      const { mark } = this.#progress;
      const left = this.#patience(since);
      if (left <= 0) return true;
      await abortable(this.#progress.changed(mark, left + 1), over).catch(() => undefined);
    }
    return false;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#stop.abort(new WeirError('aborted', 'the reader left'));
    this.#progress.wake();
    try {
      await this.#run;
    } finally {
      this.#passing.close();
      this.#options.onClose(); // otherwise its place would be taken for ever
    }
  }
}
