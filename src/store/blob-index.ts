/** The committed blobs, in memory: those within the quota, and the oversized (room.ts). */
import type { Digest } from '../oci/digest.ts';
import type { Unverified } from './fs-blob.ts';
import type { HeldBlob } from './room.ts';

export interface Entry {
  readonly size: number;
  lastUsed: number;
  touchedAt: number;
  /** Open readers. */
  readers: number;
  /** Undefined: not opened yet in this process, or long ago. */
  verification: 'verified' | Unverified | undefined;
  /** Milliseconds since the epoch: since when `verification` holds. */
  verifiedAt: number;
}

export class BlobIndex {
  readonly #entries: Map<Digest, Entry> = new Map();
  readonly #isPinned: (digest: Digest) => boolean;
  readonly #isOversized: (size: number) => boolean;
  #bytes = 0;
  #oversizedBytes = 0;

  /** @param isPinned whether an operator wants the blob to be kept */
  constructor(isPinned: (digest: Digest) => boolean, isOversized: (size: number) => boolean) {
    this.#isPinned = isPinned;
    this.#isOversized = isOversized;
  }

  get count(): number {
    return this.#entries.size;
  }

  /** Of all blobs within the quota together. */
  get bytes(): number {
    return this.#bytes;
  }

  get oversizedBytes(): number {
    return this.#oversizedBytes;
  }

  get(digest: Digest): Entry | undefined {
    return this.#entries.get(digest);
  }

  add(digest: Digest, size: number, lastUsed: number, verification: Entry['verification']): void {
    this.remove(digest);
    this.#count(size, size);
    this.#entries.set(digest, {
      size,
      lastUsed,
      touchedAt: lastUsed,
      readers: 0,
      verification,
      verifiedAt: lastUsed,
    });
  }

  /** @returns whether it was there */
  remove(digest: Digest): boolean {
    const size = this.#entries.get(digest)?.size ?? 0;
    this.#count(size, -size);
    return this.#entries.delete(digest);
  }

  #count(size: number, bytes: number): void {
    if (this.#isOversized(size)) this.#oversizedBytes += bytes;
    else this.#bytes += bytes;
  }

  /** Those within the quota. */
  *ordinary(): Iterable<HeldBlob> {
    for (const blob of this.list()) if (!this.#isOversized(blob.size)) yield blob;
  }

  oversized(): readonly HeldBlob[] {
    if (this.#oversizedBytes === 0) return [];
    return [...this.list()].filter(({ size }) => this.#isOversized(size));
  }

  *list(): Iterable<HeldBlob> {
    for (const [digest, { size, lastUsed, readers }] of this.#entries) {
      yield { digest, size, lastUsed, isInUse: readers > 0, isPinned: this.#isPinned(digest) };
    }
  }
}
