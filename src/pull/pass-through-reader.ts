/**
 * Serves a blob without storing it, because the disk is full or the blob is larger than the quota. It also serves a
 * caller that may only have bytes that upstream itself delivers to it. One reader has one request to upstream. Bytes
 * are hashed as they pass, and the last chunk is held back in memory until the whole digest is right.
 */
import { abortable } from '../util/async.ts';
import { KIB, MIB, SECOND } from '../util/clock.ts';
import { WeirError } from '../util/errors.ts';
import { DigestVerifier, type Digest } from '../oci/digest.ts';
import { ChunkLayout } from '../protocol/chunk-layout.ts';
import type { Ingest } from '../store/store.ts';
import { ByteQueue } from '../util/byte-queue.ts';
import type { Upstream } from '../upstream/upstream.ts';
import type { BlobStream } from '../upstream/upstream-blob.ts';
import type { PullRequest } from './access.ts';
import type { BlobReader, BodyTarget } from './blob-reader.ts';

const PREFIX_READ_BYTES = 1 * MIB;
/** Bytes that are handed to a response at a time, and how often before the first are taken by the client. */
const WRITE_BYTES = 256 * KIB;
const WRITES_AHEAD = 2;

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

  async ready(start: number, signal?: AbortSignal): Promise<void> {
    if (start >= this.#position) await this.#visible(start, signal);
    else if (this.#options.prefix === undefined) {
      throw new WeirError('internal', `cannot read back to ${start}, at ${this.#position}`);
    }
  }

  async sendTo(target: BodyTarget, start: number, end: number): Promise<void> {
    const writes: Promise<void>[] = [];
    try {
      for (let position = start; position < end;) {
        const bytes = await this.#next(position, end, target.gone);
        if (bytes.length === 0) {
          throw new WeirError('internal', `the blob ended at byte ${position} of ${end}`);
        }
        position += bytes.length;
        if (writes.length >= WRITES_AHEAD) await writes.shift();
        const write = target.give(bytes);
        write.catch(() => undefined); // awaited before the last one, or below
        writes.push(write);
      }
    } finally {
      await Promise.all(writes);
    }
  }

  /** The next bytes, in memory of their own; empty at the end. Bytes before an earlier position are gone. */
  async #next(position: number, end: number, signal: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
    const { prefix } = this.#options;
    if (position < this.#position && prefix !== undefined) {
      const bytes = new Uint8Array(Math.min(WRITE_BYTES, end - position, this.#position - position));
      return bytes.subarray(0, await prefix.read(bytes, position));
    }
    const visible = await this.#visible(position, signal);
    const bytes = new Uint8Array(Math.min(WRITE_BYTES, end - position, visible));
    this.#position += this.#queue.read(bytes);
    return bytes;
  }

  /** Bytes that may be handed out from `position` on, at least 1, after waiting for them; 0 at the end of the blob. */
  async #visible(position: number, signal: AbortSignal | undefined): Promise<number> {
    const heldBack = this.#layout.lastStart;
    for (;;) {
      this.#skip(position);
      const here = this.#position === position ? this.#queue.bytes : 0;
      const visible = this.#verified ? here : Math.min(here, heldBack - position);
      if (visible > 0) return visible;
      if (this.#verified) return 0;
      await this.#wait(signal);
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
