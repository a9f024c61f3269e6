/**
 * A blob that arrives in a file of the data folder.
 *
 * Bytes go to the file first, then the chunk's hash, then its bit (chunk-map.ts). The whole digest is computed
 * meanwhile over the prefix without a gap: from memory if chunks come in order, else from the file. So a commit need
 * not read the blob again.
 */
import type { FileHandle } from 'node:fs/promises';
import { createHash, type Hash } from 'node:crypto';
import { MIB } from '../util/clock.ts';
import { WeirError } from '../util/errors.ts';
import type { Digest } from '../oci/digest.ts';
import type { RegistryBlob } from '../oci/registry-blob.ts';
import type { RegistryHost } from '../oci/repository.ts';
import type { ChunkLayout } from '../protocol/chunk-layout.ts';
import { ChunkMap } from './chunk-map.ts';
import { readFully, writeError, writeFully } from './file.ts';
import { PrefixVerifier } from './prefix-verifier.ts';
import type { Ingest } from './store.ts';

/** A chunk that is being written. */
interface GrowingChunk {
  written: number;
  readonly hash: Hash;
}

/** Bytes of room that are taken at a time: smaller steps would cost more than they save. */
const ROOM_STEP = 16 * MIB;

/** What an ingest needs from the store that owns it. */
export interface IngestOwner {
  /** So many more bytes are about to be written. @throws WeirError `store_full` */
  makeRoom(ingest: FsIngest, bytes: number): Promise<void>;
  /** Moves file and chunk map to the committed blobs. */
  publish(ingest: FsIngest): Promise<void>;
  /** The ingest is closed, with or without a commit. */
  released(ingest: FsIngest, committed: boolean): void;
}

export interface IngestFiles {
  readonly data: FileHandle;
  readonly chunks: FileHandle;
}

export class FsIngest implements Ingest {
  readonly digest: Digest;
  readonly registry: RegistryHost;
  readonly #owner: IngestOwner;
  readonly #files: IngestFiles;
  readonly #growing: Map<number, GrowingChunk> = new Map();
  #map: ChunkMap;
  #verifier: PrefixVerifier;
  #presentBytes = 0;
  /** Bytes that were written or are about to be, and bytes of room that was made for them. */
  #taken = 0;
  #room = 0;
  #committed = false;
  #closed = false;
  /** Settles when the last bytes that were handed over are hashed and written; writes run one after the other. */
  #tail: Promise<void> = Promise.resolve();

  constructor({ registry, digest }: RegistryBlob, map: ChunkMap, files: IngestFiles, owner: IngestOwner) {
    this.digest = digest;
    this.registry = registry;
    this.#map = map;
    this.#files = files;
    this.#owner = owner;
    this.#verifier = new PrefixVerifier(digest);
  }

  get layout(): ChunkLayout {
    return this.#map.layout;
  }

  get presentBytes(): number {
    return this.#presentBytes;
  }

  /** Bytes of room that this ingest has taken. */
  get room(): number {
    return this.#room;
  }

  get committed(): boolean {
    return this.#committed;
  }

  has(index: number): boolean {
    return this.#map.present.has(index);
  }

  chunkHash(index: number): Uint8Array | undefined {
    return this.has(index) ? this.#map.hash(index) : undefined;
  }

  /**
   * Keeps the chunks of an earlier run whose bytes still have their recorded hash, and forgets the others.
   * To be called once, before the first write.
   */
  async recover(): Promise<void> {
    const { present } = this.#map;
    const chunk = Buffer.allocUnsafe(this.layout.chunkSize);
    for (let index = present.firstSet(); index < present.length; index = present.firstSet(index + 1)) {
      const bytes = chunk.subarray(0, this.layout.length(index));
      const start = this.layout.start(index);
      const intact =
        (await readFully(this.#files.data, bytes, start)) && matches(bytes, this.#map.hash(index));
      if (!intact) {
        present.clear(index);
        continue;
      }
      this.#presentBytes += bytes.length;
      if (start === this.#verifier.position) this.#verifier.update(bytes);
    }
    this.#taken = this.#presentBytes;
    this.#room = this.#presentBytes;
  }

  nextGap(position = 0): { start: number; end: number } | undefined {
    const { present } = this.#map;
    const first = present.firstClear(this.layout.indexOf(position));
    if (first >= present.length) return undefined;
    const behind = present.firstSet(first);
    const end = behind >= present.length ? this.layout.size : this.layout.start(behind);
    const start = this.layout.start(first) + (this.#growing.get(first)?.written ?? 0);
    return { start, end };
  }

  readable(position: number): number {
    const { present, layout } = { present: this.#map.present, layout: this.layout };
    if (position >= layout.size) return 0;
    const index = layout.indexOf(position);
    const absent = present.firstClear(index);
    if (absent >= present.length) return layout.size - position;
    const end = layout.start(absent) + (this.#growing.get(absent)?.written ?? 0);
    return Math.max(0, end - position);
  }

  async read(target: Uint8Array, position: number): Promise<number> {
    const length = Math.min(target.length, this.readable(position));
    if (length === 0) return 0;
    const { bytesRead } = await this.#files.data.read(target, 0, length, position);
    return bytesRead;
  }

  write(offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    const result = this.#tail.then(() => this.#write(offset, buffers));
    this.#tail = result.catch(() => undefined); // the caller of this write gets the error; the next write starts afresh
    return result;
  }

  async #write(offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    if (this.#closed) throw new WeirError('aborted', 'the ingest is closed');
    const total = buffers.reduce((sum, buffer) => sum + buffer.length, 0);
    if (offset + total > this.layout.size) {
      throw new WeirError('upstream_protocol', `more than the ${this.layout.size} bytes of ${this.digest}`);
    }
    try {
      await this.#take(total);
      await writeFully(this.#files.data, buffers, offset);
      let position = offset;
      for (const buffer of buffers) {
        await this.#account(position, buffer);
        position += buffer.length;
      }
    } catch (cause) {
      throw writeError(cause);
    }
  }

  async writeChunk(index: number, bytes: Uint8Array, expected?: Uint8Array): Promise<Uint8Array | undefined> {
    // Hashed in this thread: webcrypto would copy the chunk first, and that garbage costs more than the hash itself.
    const hash = new Uint8Array(createHash('sha256').update(bytes).digest());
    if (expected !== undefined && Buffer.compare(hash, expected) !== 0) return undefined;
    const result = this.#tail.then(() => this.#writeChunk(index, bytes, hash));
    this.#tail = result.catch(() => undefined); // the caller of this write gets the error; the next write starts afresh
    await result;
    return hash;
  }

  async #writeChunk(index: number, bytes: Uint8Array, hash: Uint8Array): Promise<void> {
    if (this.#closed) throw new WeirError('aborted', 'the ingest is closed');
    if (bytes.length !== this.layout.length(index)) {
      throw new WeirError('internal', `chunk ${index} of ${bytes.length} bytes`);
    }
    if (this.has(index)) return;
    try {
      await this.#take(bytes.length);
      await writeFully(this.#files.data, [bytes], this.layout.start(index));
      this.#growing.delete(index);
      this.#map.set(index, hash);
      this.#presentBytes += bytes.length;
      await this.#map.persist(this.#files.chunks, index);
    } catch (cause) {
      throw writeError(cause);
    }
    if (this.layout.start(index) === this.#verifier.position) this.#verifier.update(bytes);
    this.#catchUpLater();
  }

  /** Takes room for bytes that are about to be written. */
  async #take(bytes: number): Promise<void> {
    this.#taken += bytes;
    const missing = Math.min(this.#taken, this.layout.size) - this.#room;
    if (missing <= 0) return;
    const step = Math.min(Math.max(missing, ROOM_STEP), this.layout.size - this.#room);
    await this.#owner.makeRoom(this, step);
    this.#room += step;
  }

  /** Whether the chunk that the verifier needs next is here. */
  #hasBehind(): boolean {
    const { position } = this.#verifier;
    return position < this.layout.size && this.has(this.layout.indexOf(position));
  }

  /**
   * Lets the verifier read one chunk that came out of order, after the writes that wait. Otherwise a commit would have
   * to read the whole blob, and the last chunk would be held back for seconds.
   */
  #catchUpLater(): void {
    if (!this.#hasBehind()) return;
    const caughtUp = this.#tail.then(() => this.#catchUpOne());
    this.#tail = caughtUp.catch(() => undefined); // the commit meets the same failure, and reports it
  }

  async #catchUpOne(): Promise<void> {
    if (this.#closed || !this.#hasBehind()) return;
    const index = this.layout.indexOf(this.#verifier.position);
    await this.#verifier.catchUp(this.#files.data, this.layout.end(index));
    this.#catchUpLater();
  }

  /** Settles when nothing waits to be written or hashed; the last work may add more. */
  async #idle(): Promise<void> {
    for (let tail: Promise<void> | undefined; tail !== this.#tail;) {
      tail = this.#tail;
      await tail;
    }
  }

  /** Hashes bytes that are in the file now, and marks chunks that are whole with them. */
  async #account(start: number, buffer: Uint8Array): Promise<void> {
    let done = 0;
    while (done < buffer.length) {
      const position = start + done;
      const index = this.layout.indexOf(position);
      const part = buffer.subarray(done, done + this.layout.end(index) - position);
      done += part.length;
      if (this.has(index)) continue;
      const chunk = this.#grow(index, position);
      chunk.hash.update(part);
      chunk.written += part.length;
      if (position === this.#verifier.position) this.#verifier.update(part);
      if (chunk.written < this.layout.length(index)) continue;
      this.#growing.delete(index);
      this.#map.set(index, chunk.hash.digest());
      this.#presentBytes += this.layout.length(index);
      await this.#map.persist(this.#files.chunks, index);
    }
  }

  #grow(index: number, position: number): GrowingChunk {
    const expected = this.layout.start(index) + (this.#growing.get(index)?.written ?? 0);
    if (position !== expected) {
      throw new WeirError('internal', `chunk ${index} grows at ${expected}, not at ${position}`);
    }
    const chunk = this.#growing.get(index) ?? { written: 0, hash: createHash('sha256') };
    this.#growing.set(index, chunk);
    return chunk;
  }

  async commit(): Promise<void> {
    await this.#idle();
    if (!this.#map.present.full) {
      throw new WeirError(
        'internal',
        `${this.digest} is not complete: ${this.#presentBytes} of ${this.layout.size}`,
      );
    }
    await this.#verifier.catchUp(this.#files.data, this.layout.size);
    if (!this.#verifier.matches()) {
      await this.#reset();
      throw new WeirError('digest_mismatch', `the received bytes do not have the digest ${this.digest}`);
    }
    await this.#owner.publish(this);
    this.#committed = true;
  }

  /** Forgets all bytes: it is not known which of them are wrong. */
  async #reset(): Promise<void> {
    this.#map = new ChunkMap(this.layout);
    this.#growing.clear();
    this.#presentBytes = 0;
    this.#taken = 0;
    this.#verifier = new PrefixVerifier(this.digest);
    const bytes = this.#map.encode();
    await this.#files.chunks.write(bytes, 0, bytes.length, 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#idle();
    await this.#files.data.close();
    await this.#files.chunks.close();
    this.#owner.released(this, this.#committed);
  }
}

function matches(bytes: Uint8Array, hash: Uint8Array): boolean {
  return createHash('sha256').update(bytes).digest().equals(hash);
}
