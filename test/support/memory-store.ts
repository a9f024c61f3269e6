/** A store in memory: the second implementation that keeps the conformance suite honest, and quick for tests. */
import { createHash } from 'node:crypto';
import { WeirError } from '../../src/util/errors.ts';
import { digestOf, digestAlgorithm, type Digest } from '../../src/oci/digest.ts';
import { registryBlobId, type RegistryBlob } from '../../src/oci/registry-blob.ts';
import type { RegistryHost } from '../../src/oci/repository.ts';
import { Bitfield } from '../../src/protocol/bitfield.ts';
import { ChunkLayout } from '../../src/protocol/chunk-layout.ts';
import type { Blob, BlobInfo, Ingest, Store, StoreUsage } from '../../src/store/store.ts';

export class MemoryStore implements Store {
  readonly name = 'store';
  readonly #blobs: Map<Digest, Uint8Array> = new Map();
  /** By {@link registryBlobId}. */
  readonly #partials: Map<string, MemoryIngest> = new Map();
  readonly #quota: number;

  constructor(quota: number = Infinity) {
    this.#quota = quota;
  }

  /** Adds a blob as if it had always been there. */
  put(bytes: Uint8Array): Digest {
    const digest = digestOf(bytes);
    this.#blobs.set(digest, bytes);
    return digest;
  }

  stat(digest: Digest): Promise<BlobInfo | undefined> {
    const bytes = this.#blobs.get(digest);
    return Promise.resolve(bytes === undefined ? undefined : { digest, size: bytes.length });
  }

  async *list(): AsyncIterable<BlobInfo> {
    for (const [digest, { length }] of this.#blobs) yield { digest, size: length };
  }

  open(digest: Digest): Promise<Blob | undefined> {
    const bytes = this.#blobs.get(digest);
    if (bytes === undefined) return Promise.resolve(undefined);
    return Promise.resolve({
      digest,
      size: bytes.length,
      source: 'store',
      read: (target, position) => Promise.resolve(copy(bytes, target, position, bytes.length)),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    });
  }

  resume(blob: RegistryBlob): Promise<Ingest | undefined> {
    const partial = this.#partials.get(registryBlobId(blob));
    partial?.reopen();
    return Promise.resolve(partial);
  }

  async ingest(of: RegistryBlob, size: number): Promise<Ingest> {
    const partial = await this.resume(of);
    if (partial?.layout.size === size) return partial;
    if (size > this.#quota) throw new WeirError('store_full', 'larger than the quota');
    const ingest = new MemoryIngest(of, size, (bytes) => {
      this.#blobs.set(of.digest, bytes);
      this.#partials.delete(registryBlobId(of));
    });
    this.#partials.set(registryBlobId(of), ingest);
    return ingest;
  }

  delete(digest: Digest): Promise<boolean> {
    return Promise.resolve(this.#blobs.delete(digest));
  }

  usage(): StoreUsage {
    const blobBytes = [...this.#blobs.values()].reduce((sum, { length }) => sum + length, 0);
    const partialBytes = [...this.#partials.values()].reduce((sum, { layout }) => sum + layout.size, 0);
    const partials = this.#partials.size;
    return { blobs: this.#blobs.size, blobBytes, partials, partialBytes, quota: this.#quota };
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }
}

class MemoryIngest implements Ingest {
  readonly digest: Digest;
  readonly registry: RegistryHost;
  readonly layout: ChunkLayout;
  readonly #bytes: Uint8Array;
  readonly #publish: (bytes: Uint8Array) => void;
  #present: Bitfield;
  readonly #growing: Map<number, number> = new Map();
  #closed = false;

  constructor({ registry, digest }: RegistryBlob, size: number, publish: (bytes: Uint8Array) => void) {
    this.digest = digest;
    this.registry = registry;
    this.layout = new ChunkLayout(size);
    this.#bytes = new Uint8Array(size);
    this.#present = new Bitfield(this.layout.count);
    this.#publish = publish;
  }

  reopen(): void {
    this.#closed = false;
    this.#growing.clear();
  }

  get presentBytes(): number {
    let sum = 0;
    for (let index = 0; index < this.layout.count; index++)
      if (this.has(index)) sum += this.layout.length(index);
    return sum;
  }

  has(index: number): boolean {
    return this.#present.has(index);
  }

  chunkHash(index: number): Uint8Array | undefined {
    if (!this.has(index)) return undefined;
    const bytes = this.#bytes.subarray(this.layout.start(index), this.layout.end(index));
    return createHash('sha256').update(bytes).digest();
  }

  nextGap(position = 0): { start: number; end: number } | undefined {
    const first = this.#present.firstClear(this.layout.indexOf(position));
    if (first >= this.layout.count) return undefined;
    const behind = this.#present.firstSet(first);
    const end = behind >= this.layout.count ? this.layout.size : this.layout.start(behind);
    return { start: this.layout.start(first) + (this.#growing.get(first) ?? 0), end };
  }

  readable(position: number): number {
    if (position >= this.layout.size) return 0;
    const absent = this.#present.firstClear(this.layout.indexOf(position));
    if (absent >= this.layout.count) return this.layout.size - position;
    return Math.max(0, this.layout.start(absent) + (this.#growing.get(absent) ?? 0) - position);
  }

  read(target: Uint8Array, position: number): Promise<number> {
    return Promise.resolve(copy(this.#bytes, target, position, position + this.readable(position)));
  }

  async writeChunk(index: number, bytes: Uint8Array, expected?: Uint8Array): Promise<Uint8Array | undefined> {
    const hash = createHash('sha256').update(bytes).digest();
    if (expected !== undefined && !hash.equals(expected)) return undefined;
    this.#growing.delete(index);
    if (!this.has(index)) await this.write(this.layout.start(index), [bytes]);
    return hash;
  }

  write(offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    if (this.#closed) return Promise.reject(new WeirError('aborted', 'the ingest is closed'));
    const bytes = Buffer.concat(buffers);
    if (offset + bytes.length > this.layout.size) {
      return Promise.reject(new WeirError('upstream_protocol', 'more bytes than the blob has'));
    }
    let position = offset;
    while (position < offset + bytes.length) {
      const index = this.layout.indexOf(position);
      const end = Math.min(this.layout.end(index), offset + bytes.length);
      if (!this.has(index)) {
        this.#bytes.set(bytes.subarray(position - offset, end - offset), position);
        this.#growing.set(index, end - this.layout.start(index));
        if (end === this.layout.end(index)) {
          this.#present.set(index);
          this.#growing.delete(index);
        }
      }
      position = end;
    }
    return Promise.resolve();
  }

  commit(): Promise<void> {
    if (digestOf(this.#bytes, digestAlgorithm(this.digest)) !== this.digest) {
      this.#present = new Bitfield(this.layout.count);
      this.#growing.clear();
      return Promise.reject(new WeirError('digest_mismatch', 'wrong content'));
    }
    this.#publish(this.#bytes);
    return Promise.resolve();
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    return Promise.resolve();
  }
}

function copy(from: Uint8Array, target: Uint8Array, position: number, end: number): number {
  const part = from.subarray(position, Math.min(end, position + target.length));
  target.set(part);
  return part.length;
}
