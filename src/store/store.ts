/**
 * The roles of content stores.
 *
 * Life of a blob: `ingest` (or `resume` after a restart) hands out the one {@link Ingest} of a digest; bytes are
 * written chunk by chunk, in any order of chunks, and can be read while they arrive; `commit` checks the whole
 * digest and makes the blob visible to `open` at once, or refuses it for good. A chunk only ever goes from absent
 * to present, so sources that fill one ingest side by side need no lock between them. `close` without `commit`
 * keeps what is there for the next `resume`.
 *
 * A provider hands out verified content only: what it cannot vouch for it drops, and says `store_corrupt`.
 */
import type { Digest } from '../oci/digest.ts';
import type { ChunkLayout } from './chunk-layout.ts';

export interface BlobInfo {
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
}

/** Where a provider's bytes lie; the label of the metrics and of the Weir-Source header. */
export type ProviderName = 'store' | 'runtime';

/** An open blob. It stays readable until closed, also when it is deleted meanwhile. */
export interface Blob extends BlobInfo, AsyncDisposable {
  readonly source: ProviderName;
  /**
   * Reads into `target` from `position` on; resolves with the number of bytes, 0 at the end.
   * @throws WeirError `store_corrupt` where the content is not what its digest says; the blob is then gone
   */
  read(target: Uint8Array, position: number): Promise<number>;
  /** sha256 of all chunks, one behind the other, where they are kept beside the blob. */
  chunkHashes?(): Promise<Uint8Array | undefined>;
}

export interface BlobProvider {
  readonly name: ProviderName;
  stat(digest: Digest): Promise<BlobInfo | undefined>;
  /** Undefined where the blob is not here; a size that contradicts `stat` counts as not here. */
  open(digest: Digest): Promise<Blob | undefined>;
  list(): AsyncIterable<BlobInfo>;
}

/** A blob that is arriving. */
export interface Ingest extends AsyncDisposable {
  readonly digest: Digest;
  readonly layout: ChunkLayout;
  /** Bytes of whole chunks that are present. */
  readonly presentBytes: number;
  /** Whether the chunk is whole. */
  has(index: number): boolean;
  /** sha256 of a whole chunk. */
  chunkHash(index: number): Uint8Array | undefined;
  /** The first stretch of absent bytes at or after `position`; undefined where all are present. */
  nextGap(position?: number): { readonly start: number; readonly end: number } | undefined;
  /** How many bytes from `position` on can be read now, without a gap. */
  readable(position: number): number;
  read(target: Uint8Array, position: number): Promise<number>;
  /**
   * Writes consecutive bytes; `offset` is the start of an absent chunk, or where the last write into it ended.
   * Bytes of chunks that are already whole are passed over.
   * @throws WeirError `store_full` (ENOSPC), `store_unusable`
   */
  write(offset: number, buffers: readonly Uint8Array[]): Promise<void>;
  /**
   * Writes one whole chunk if it has the hash `expected` (any, where none is given).
   * @returns the chunk's sha256; undefined where it is not the expected one: nothing was written then
   * @throws WeirError `store_full` (ENOSPC), `store_unusable`
   */
  writeChunk(index: number, bytes: Uint8Array, expected?: Uint8Array): Promise<Uint8Array | undefined>;
  /**
   * Checks the whole digest and publishes the blob; the ingest stays readable until closed.
   * @throws WeirError `digest_mismatch`: all bytes are dropped, and the ingest is empty again
   */
  commit(): Promise<void>;
}

export interface BlobIngester {
  /** The partial blob of an earlier run, with the chunks that still have their recorded hash. */
  resume(digest: Digest): Promise<Ingest | undefined>;
  /**
   * Starts (or resumes) a blob of `size` bytes and reserves room for it, evicting what was used least recently.
   * @throws WeirError `store_full` where it does not fit the quota or the disk, or another ingest of it is open
   */
  ingest(digest: Digest, size: number): Promise<Ingest>;
}

export interface StoreUsage {
  readonly blobs: number;
  /** Bytes of committed blobs. */
  readonly blobBytes: number;
  readonly partials: number;
  /** Bytes reserved by blobs that are arriving, and held by partial ones of earlier runs. */
  readonly partialBytes: number;
  /** Bytes that the store may use. */
  readonly quota: number;
}

export interface BlobManager {
  /** Drops a committed blob; open readers keep it. Resolves with whether it was there. */
  delete(digest: Digest): Promise<boolean>;
  usage(): StoreUsage;
}

export interface Store extends BlobProvider, BlobIngester, BlobManager, AsyncDisposable {}
