/** The committed blobs, in memory. */
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
  #bytes = 0;

  /** @param isPinned whether an operator wants the blob to be kept */
  constructor(isPinned: (digest: Digest) => boolean) {
    this.#isPinned = isPinned;
  }

  get count(): number {
    return this.#entries.size;
  }

  /** Of all blobs together. */
  get bytes(): number {
    return this.#bytes;
  }

  get(digest: Digest): Entry | undefined {
    return this.#entries.get(digest);
  }

  add(digest: Digest, size: number, lastUsed: number, verification: Entry['verification']): void {
    this.remove(digest);
    this.#bytes += size;
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
    this.#bytes -= this.#entries.get(digest)?.size ?? 0;
    return this.#entries.delete(digest);
  }

  *list(): Iterable<HeldBlob> {
    for (const [digest, { size, lastUsed, readers }] of this.#entries) {
      yield { digest, size, lastUsed, isInUse: readers > 0, isPinned: this.#isPinned(digest) };
    }
  }
}
