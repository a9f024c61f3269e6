/** The committed blobs, in memory: those within the quota, and the oversized (room.ts). */
import type { Digest } from '../oci/digest.ts';
import type { Unverified } from './fs-blob.ts';
import type { HeldBlob } from './room.ts';

export interface Entry {
  readonly size: number;
  lastUsed: number;
  touchedAt: number;
  /** Open readers. */
  pins: number;
  /** Undefined: not opened yet in this process, or long ago. */
  verification: 'verified' | Unverified | undefined;
  /** Milliseconds since the epoch: since when `verification` holds. */
  verifiedAt: number;
}

export class BlobIndex {
  readonly #entries: Map<Digest, Entry> = new Map();
  readonly #isOversized: (size: number) => boolean;
  #bytes = 0;
  #oversizedBytes = 0;

  constructor(isOversized: (size: number) => boolean) {
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
      pins: 0,
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

  /** @param mustStay whether this blob is not to be evicted although nobody reads it */
  *list(mustStay?: (digest: Digest) => boolean): Iterable<HeldBlob> {
    for (const [digest, { size, lastUsed, pins }] of this.#entries) {
      yield { digest, size, lastUsed, isPinned: pins > 0 || mustStay?.(digest) === true };
    }
  }

  *ordinary(mustStay?: (digest: Digest) => boolean): Iterable<HeldBlob> {
    for (const blob of this.list(mustStay)) if (!this.#isOversized(blob.size)) yield blob;
  }

  oversized(mustStay?: (digest: Digest) => boolean): readonly HeldBlob[] {
    if (this.#oversizedBytes === 0) return [];
    return [...this.list(mustStay)].filter(({ size }) => this.#isOversized(size));
  }
}
