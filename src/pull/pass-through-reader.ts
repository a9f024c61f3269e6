/**
 * Serves a blob without storing it, because the disk is full or the blob is larger than the quota. It also serves a
 * caller that may only have bytes that upstream itself delivers to it. One reader has one request to upstream. Bytes
 * are hashed as they pass, and the last chunk is held back in memory until the whole digest is right.
 */
import { abortable } from '../util/async.ts';
import { MIB, SECOND } from '../util/clock.ts';
import { WeirError } from '../util/errors.ts';
import { DigestVerifier, type Digest } from '../oci/digest.ts';
import { ChunkLayout } from '../protocol/chunk-layout.ts';
import type { Ingest } from '../store/store.ts';
import { ByteQueue } from '../util/byte-queue.ts';
import type { BlobStream, Upstream } from '../upstream/upstream.ts';
import type { PullRequest } from './access.ts';
import type { BlobReader, ReadOptions } from './blob-reader.ts';

const PREFIX_READ_BYTES = 1 * MIB;

export interface PassThroughReaderOptions {
  readonly upstream: Pick<Upstream, 'openBlob'>;
  readonly request: PullRequest;
  readonly digest: Digest;
  /** The bytes that arrived before the disk was full; stays open as long as this reader. */
  readonly prefix?: Ingest | undefined;
  /** Milliseconds without a byte from upstream after which a read fails. */
  readonly stallTimeout: number;
  /** The digest is right: upstream has delivered this blob to this caller. */
  readonly onVerified: () => void;
  readonly onClose: () => void;
}

export class PassThroughReader implements BlobReader {
  readonly source = 'upstream';
  readonly #options: PassThroughReaderOptions;
  readonly #stop: AbortController;
  readonly #layout: ChunkLayout;
  readonly #iterator: AsyncIterator<Uint8Array>;
  readonly #verifier: DigestVerifier;
  /** Bytes that have come and are not read yet, from {@link #position} on. */
  readonly #queue = new ByteQueue();
  #position: number;
  #verified = false;
  #closed = false;

  private constructor(
    options: PassThroughReaderOptions,
    stop: AbortController,
    stream: BlobStream,
    verifier: DigestVerifier,
    start: number,
  ) {
    this.#options = options;
    this.#stop = stop;
    this.#layout = new ChunkLayout(stream.size);
    this.#iterator = stream.chunks[Symbol.asyncIterator]();
    this.#verifier = verifier;
    this.#position = start;
  }

  static async open(options: PassThroughReaderOptions): Promise<PassThroughReader> {
    const { upstream, request, digest, prefix } = options;
    const verifier = new DigestVerifier(digest);
    const start = prefix === undefined ? 0 : await hashPrefix(prefix, verifier);
    request.signal?.throwIfAborted(); // otherwise a request would start that nobody waits for
    // The request to upstream must outlive the first-byte deadline, which is part of the caller's signal.
    const stop = new AbortController();
    const { caller, signal } = request;
    const opening = upstream.openBlob(request.repository, digest, { caller, signal: stop.signal, start });
    try {
      return new PassThroughReader(options, stop, await abortable(opening, signal), verifier, start);
    } catch (error) {
      stop.abort();
      throw error;
    }
  }

  get digest(): Digest {
    return this.#options.digest;
  }

  get size(): number {
    return this.#layout.size;
  }

  /** Reads forward only: bytes before an earlier position are gone. */
  async read(target: Uint8Array, position: number, { signal }: ReadOptions = {}): Promise<number> {
    const { prefix } = this.#options;
    if (position < this.#position) {
      if (prefix !== undefined) return prefix.read(target, position);
      throw new WeirError('internal', `cannot read back to ${position}, at ${this.#position}`);
    }
    this.#skip(position);
    const heldBack = this.#layout.lastStart;
    for (;;) {
      const here = this.#position === position ? this.#queue.bytes : 0;
      const visible = this.#verified ? here : Math.min(here, heldBack - position);
      if (visible > 0) return this.#take(target.subarray(0, Math.min(target.length, visible)));
      if (this.#verified) return 0;
      await this.#wait(signal);
      this.#skip(position);
    }
  }

  async #wait(signal: AbortSignal | undefined): Promise<void> {
    const stalled = AbortSignal.timeout(this.#options.stallTimeout);
    try {
      await abortable(this.#receive(), signal === undefined ? stalled : AbortSignal.any([stalled, signal]));
    } catch (cause) {
      if (!stalled.aborted) throw cause;
      const seconds = this.#options.stallTimeout / SECOND;
      throw new WeirError('upstream_stalled', `upstream sent nothing for ${seconds} s`, { cause });
    }
  }

  async #receive(): Promise<void> {
    const { done, value } = await this.#iterator.next();
    if (done !== true) {
      this.#verifier.update(value);
      this.#queue.push(value);
      return;
    }
    if (!this.#verifier.matches()) {
      throw new WeirError('digest_mismatch', `the bytes from upstream do not have the digest ${this.digest}`);
    }
    this.#verified = true;
    this.#options.onVerified();
  }

  /** Drops the bytes before `position`. */
  #skip(position: number): void {
    while (this.#position < position) {
      const dropped = this.#queue.drop(position - this.#position);
      if (dropped === 0) return;
      this.#position += dropped;
    }
  }

  #take(target: Uint8Array): number {
    const length = this.#queue.read(target);
    this.#position += length;
    return length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#stop.abort();
    this.#queue.takeAll();
    try {
      await this.#iterator.return?.();
    } finally {
      this.#options.onClose(); // otherwise its place would be taken for ever
    }
  }
}

/** Hashes the blob from its start to the first gap; resolves with the number of bytes. */
async function hashPrefix(ingest: Ingest, verifier: DigestVerifier): Promise<number> {
  const buffer = Buffer.allocUnsafe(PREFIX_READ_BYTES);
  let position = 0;
  for (;;) {
    const length = await ingest.read(buffer, position);
    if (length === 0) return position;
    verifier.update(buffer.subarray(0, length));
    position += length;
  }
}
