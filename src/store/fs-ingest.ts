/**
 * A blob that arrives in a file of the data folder.
 *
 * Chunks are written by byte workers, from the memory in which they arrived (ByteFiles); documents by this thread. The whole
 * digest is computed meanwhile by a byte worker, over the prefix without a gap. So a commit need not read the blob again.
 *
 * The chunk map on the disk (chunk-map.ts) follows a little later: after a crash, its newest chunks are fetched again.
 */
import { createHash, type Hash } from 'node:crypto';
import { MIB } from '../util/clock.ts';
import type { ChunkBytes, FileContent } from '../util/content.ts';
import { WeirError } from '../util/errors.ts';
import { Progress } from '../util/progress.ts';
import { digestAlgorithm, digestHex, type Digest } from '../oci/digest.ts';
import type { RegistryBlob } from '../oci/registry-blob.ts';
import type { RegistryHost } from '../oci/repository.ts';
import type { ChunkLayout } from '../protocol/chunk-layout.ts';
import { ChunkMap } from './chunk-map.ts';
import { ChunkMapFile } from './chunk-map-file.ts';
import { writeFully } from './file.ts';
import type { IngestFiles, IngestOwner } from './ingest-owner.ts';
import type { Ingest, Pour } from './store.ts';
import { WholeHash } from './whole-hash.ts';

/** A chunk that is being written. */
interface GrowingChunk {
  written: number;
  /** Undefined if a byte worker writes it, which hashes it there. */
  readonly hash: Hash | undefined;
}

/** Bytes of room that are taken at a time: smaller steps would cost more than they save. */
const ROOM_STEP = 16 * MIB;

export class FsIngest implements Ingest {
  readonly digest: Digest;
  readonly registry: RegistryHost;
  readonly #owner: IngestOwner;
  readonly #files: IngestFiles;
  readonly #growing: Map<number, GrowingChunk> = new Map();
  readonly #progress: Progress = new Progress();
  #map: ChunkMap;
  readonly #mapFile: ChunkMapFile;
  readonly #wholeHash: WholeHash;
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
    this.#mapFile = new ChunkMapFile(files.chunks, () => this.#map);
    const { memory: progress } = this.#progress;
    const { size } = map.layout;
    const algorithm = digestAlgorithm(digest);
    this.#wholeHash = new WholeHash(files.bytes, { fd: files.data.fd, size, algorithm, progress });
  }

  get content(): FileContent {
    const { size, lastStart } = this.layout;
    const { memory } = this.#progress;
    return { fd: this.#files.data.fd, size, progress: memory, heldBack: size - lastStart };
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
    const { present, hashes } = this.#map;
    const recorded: number[] = [];
    for (let index = present.firstSet(); index < present.length; index = present.firstSet(index + 1)) {
      recorded.push(index);
    }
    const { bytes } = this.#files;
    const intact = recorded.length === 0 ? [] : await bytes.check(this.content, hashes, recorded);
    const isIntact = new Set(intact);
    for (const index of recorded) if (!isIntact.has(index)) present.clear(index);
    for (const index of intact) this.#presentBytes += this.layout.length(index);
    this.#taken = this.#presentBytes;
    this.#room = this.#presentBytes;
    this.#progress.advance(this.readable(0));
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
    // A byte worker that pours is ahead of what it has told.
    return Math.max(0, end - position, this.#progress.prefix - position);
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
    } catch (cause) {
      throw this.#owner.failed(cause);
    }
    let position = offset;
    for (const buffer of buffers) {
      this.#account(position, buffer);
      position += buffer.length;
    }
    this.#progress.advance(this.readable(0));
  }

  async writeChunk(index: number, bytes: ChunkBytes, expected?: Uint8Array): Promise<Uint8Array | undefined> {
    // A document is hashed in this thread.
    const hash = 'place' in bytes ? bytes.hash : new Uint8Array(createHash('sha256').update(bytes).digest());
    if (expected !== undefined && Buffer.compare(hash, expected) !== 0) return undefined;
    const result = this.#tail.then(() => this.#writeChunk(index, bytes, hash));
    this.#tail = result.catch(() => undefined); // the caller of this write gets the error; the next write starts afresh
    await result;
    return hash;
  }

  async #writeChunk(index: number, bytes: ChunkBytes, hash: Uint8Array): Promise<void> {
    if (this.#closed) throw new WeirError('aborted', 'the ingest is closed');
    if (bytes.length !== this.layout.length(index)) {
      throw new WeirError('internal', `chunk ${index} of ${bytes.length} bytes`);
    }
    if (this.has(index)) return;
    const { data, bytes: files } = this.#files;
    const start = this.layout.start(index);
    try {
      await this.#take(bytes.length);
      if ('place' in bytes) await files.write(bytes, data.fd, start, this.#wholeHash.following);
      else await writeFully(data, [bytes], start);
    } catch (cause) {
      throw this.#owner.failed(cause);
    }
    this.#growing.delete(index);
    this.#accept(index, hash);
    this.#progress.advance(this.readable(0));
  }

  /** The chunk is whole in the file. */
  #accept(index: number, hash: Uint8Array): void {
    this.#map.set(index, hash);
    this.#presentBytes += this.layout.length(index);
    this.#mapFile.saveSoon();
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

  /** Settles when nothing waits to be written; the last work may add more. */
  async #idle(): Promise<void> {
    for (let tail: Promise<void> | undefined; tail !== this.#tail;) {
      tail = this.#tail;
      await tail;
    }
  }

  /** Hashes bytes that are in the file now, and marks chunks that are whole with them. */
  #account(start: number, buffer: Uint8Array): void {
    let done = 0;
    while (done < buffer.length) {
      const position = start + done;
      const index = this.layout.indexOf(position);
      const part = buffer.subarray(done, done + this.layout.end(index) - position);
      done += part.length;
      if (this.has(index)) continue;
      const chunk = this.#grow(index, position);
      const hash = chunk.hash.update(part);
      chunk.written += part.length;
      if (chunk.written < this.layout.length(index)) continue;
      this.#growing.delete(index);
      this.#accept(index, hash.digest());
    }
  }

  #grow(index: number, position: number): GrowingChunk & { readonly hash: Hash } {
    const known = this.#growing.get(index);
    const expected = this.layout.start(index) + (known?.written ?? 0);
    if (position !== expected) {
      throw new WeirError('internal', `chunk ${index} grows at ${expected}, not at ${position}`);
    }
    const { written = 0, hash = createHash('sha256') } = known ?? {};
    if (written > 0 && known?.hash === undefined) {
      throw new WeirError('internal', `a byte worker writes chunk ${index}`);
    }
    const chunk = { written, hash };
    this.#growing.set(index, chunk);
    return chunk;
  }

  pour(start: number): Pour {
    let reserved = start;
    return {
      file: this.content,
      start,
      reserve: async (to) => {
        if (this.#closed) throw new WeirError('aborted', 'the ingest is closed');
        const more = Math.max(0, to - reserved);
        reserved += more;
        await this.#take(more);
      },
      wrote: (index, hash) => {
        if (this.#closed || this.has(index)) return;
        this.#growing.delete(index);
        this.#accept(index, hash);
        this.#progress.advance(this.readable(0));
      },
      ended: (at) => {
        this.#taken -= Math.max(0, reserved - at); // the next pour reserves them again
        const index = this.layout.indexOf(at);
        const written = at - this.layout.start(index);
        if (written > 0 && !this.has(index)) this.#growing.set(index, { written, hash: undefined });
      },
    };
  }

  async commit(): Promise<void> {
    await this.#idle();
    if (!this.#map.present.full) {
      throw new WeirError(
        'internal',
        `${this.digest} is not complete: ${this.#presentBytes} of ${this.layout.size}`,
      );
    }
    if ((await this.#wholeHash.hex()) !== digestHex(this.digest)) {
      await this.#reset();
      throw new WeirError('digest_mismatch', `the received bytes do not have the digest ${this.digest}`);
    }
    try {
      await this.#mapFile.save();
    } catch (cause) {
      throw this.#owner.failed(cause);
    }
    await this.#owner.publish(this);
    this.#committed = true;
    this.#progress.complete();
  }

  /** Forgets all bytes: it is not known which of them are wrong. */
  async #reset(): Promise<void> {
    this.#map = new ChunkMap(this.layout);
    this.#growing.clear();
    this.#presentBytes = 0;
    this.#taken = 0;
    this.#progress.restart();
    this.#wholeHash.restart();
    await this.#mapFile.save();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#wholeHash.stop();
    await this.#idle();
    await this.#mapFile.settle();
    await this.#files.data.close();
    await this.#files.chunks?.close();
    this.#owner.released(this, this.#committed);
  }
}
