/** The committed blobs, in memory. */
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
  #bytes = 0;

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
      pins: 0,
      verification,
      verifiedAt: lastUsed,
    });
  }

  /** @returns whether it was there */
  remove(digest: Digest): boolean {
    this.#bytes -= this.#entries.get(digest)?.size ?? 0;
    return this.#entries.delete(digest);
  }

  /** @param mustStay whether this blob is not to be evicted although nobody reads it */
  *list(mustStay?: (digest: Digest) => boolean): Iterable<HeldBlob> {
    for (const [digest, { size, lastUsed, pins }] of this.#entries) {
      yield { digest, size, lastUsed, isPinned: pins > 0 || mustStay?.(digest) === true };
    }
  }
}
