/**
 * The roles of content stores.
 *
 * The life of a blob:
 * 1. `ingest` (or `resume` after a restart) hands out the one {@link Ingest} of one registry's blob.
 * 2. Bytes are written chunk by chunk, in any order of chunks, and can be read while they arrive.
 * 3. `commit` checks the whole digest. It makes the blob visible to `open` at once, for all registries, or refuses
 *    it for good. Closing an ingest without `commit` keeps its chunks for the next `resume`.
 *
 * A chunk only ever goes from absent to present, so sources that fill one ingest side by side need no lock between
 * them.
 *
 * A provider hands out verified content only: it drops content that it cannot verify, and throws `store_corrupt`.
 */
import { isWeirError } from '../util/errors.ts';
import type { Digest } from '../oci/digest.ts';
import type { RegistryBlob } from '../oci/registry-blob.ts';
import type { RegistryHost } from '../oci/repository.ts';
import type { ChunkLayout } from '../protocol/chunk-layout.ts';
import type { ChunkBytes, FileContent } from '../util/content.ts';
import type { DiskSpace } from './watermarks.ts';

export interface BlobInfo {
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
}

/** The place of a provider's bytes; a label of the metrics, and the value of the Weir-Source header. */
export type ProviderName = 'store' | 'runtime';

/** An open blob. It stays readable until it is closed, even if the blob is deleted meanwhile. */
export interface Blob extends BlobInfo, AsyncDisposable {
  readonly source: ProviderName;
  /** For byte workers to read; valid until the blob is closed. */
  readonly content: FileContent;
  /** Tells that a byte worker found the content wrong: the blob is dropped. */
  corrupt(): Promise<void>;
  /**
   * Reads a document, or a few bytes, into `target` from `position` on; resolves with the number of bytes, 0 at the end.
   * @throws WeirError `store_corrupt` if the content does not have its digest; the blob is then gone
   */
  read(target: Uint8Array, position: number): Promise<number>;
  /** sha256 of all chunks, one after the other, if they are kept beside the blob. */
  chunkHashes?(): Promise<Uint8Array | undefined>;
}

export interface BlobProvider {
  readonly name: ProviderName;
  stat(digest: Digest): Promise<BlobInfo | undefined>;
  /** Undefined if the blob is not here, or if its size contradicts `stat`. */
  open(digest: Digest): Promise<Blob | undefined>;
  list(): AsyncIterable<BlobInfo>;
}

/** A blob that is arriving. */
export interface Ingest extends AsyncDisposable {
  readonly digest: Digest;
  readonly registry: RegistryHost;
  readonly layout: ChunkLayout;
  /** For byte workers to read as it grows; valid until the ingest is closed. */
  readonly content: FileContent;
  /** Bytes of whole chunks that are present. */
  readonly presentBytes: number;
  /** Whether the chunk is whole. */
  has(index: number): boolean;
  /** sha256 of a whole chunk. */
  chunkHash(index: number): Uint8Array | undefined;
  /** The first range of absent bytes at or after `position`; undefined if all are present. */
  nextGap(position?: number): { readonly start: number; readonly end: number } | undefined;
  /** Number of bytes from `position` on that can be read now, without a gap. */
  readable(position: number): number;
  read(target: Uint8Array, position: number): Promise<number>;
  /**
   * Writes consecutive bytes. `offset` is the start of an absent chunk, or the end of the last write into it. Bytes of
   * chunks that are already whole are skipped.
   * @throws WeirError `store_full` (ENOSPC, or nothing more can be evicted for it), `store_unusable`
   */
  write(offset: number, buffers: readonly Uint8Array[]): Promise<void>;
  /**
   * Writes one whole chunk if it has the hash `expected`, or if none is given.
   * @returns the chunk's sha256; undefined if it is not the expected one: nothing was written then
   * @throws WeirError `store_full` (ENOSPC), `store_unusable`, `worker_lost` (with the memory that held the chunk)
   */
  writeChunk(index: number, bytes: ChunkBytes, expected?: Uint8Array): Promise<Uint8Array | undefined>;
  /**
   * Lends the file to a byte worker, which writes consecutive bytes from `start` on. `start` is the start of an absent chunk,
   * or where an earlier pour ended in it. One pour at a time.
   */
  pour(start: number): Pour;
  /**
   * Checks the whole digest and publishes the blob; the ingest stays readable until closed.
   * @throws WeirError `digest_mismatch`: all bytes are dropped, and the ingest is empty again
   */
  commit(): Promise<void>;
}

/** Consecutive bytes that a byte worker writes into an arriving blob. It advances the blob's Progress itself. */
export interface Pour {
  readonly file: FileContent;
  readonly start: number;
  /** Makes room for the bytes up to `to`; before that they must not be written. @throws WeirError `store_full` */
  reserve(to: number): Promise<void>;
  /** A chunk is whole in the file. @param hash its sha256 */
  wrote(index: number, hash: Uint8Array): void;
  /** Nothing was written behind this byte, and nothing will be. */
  ended(at: number): void;
}

export interface BlobIngester {
  /** The partial blob of an earlier run, with the chunks that still have their recorded hash. */
  resume(blob: RegistryBlob): Promise<Ingest | undefined>;
  /**
   * Starts (or resumes) a blob with the announced size. Room is taken as bytes come, from blobs that were used least
   * recently: an announced size evicts nothing.
   * @throws WeirError `store_full` if it cannot fit the quota or the disk, or another ingest of it is open
   */
  ingest(blob: RegistryBlob, size: number): Promise<Ingest>;
}

export interface StoreUsage {
  readonly blobs: number;
  /** Bytes of committed blobs. */
  readonly blobBytes: number;
  readonly partials: number;
  /** Bytes of arriving blobs, and of partial blobs of earlier pulls. */
  readonly partialBytes: number;
  /** Bytes that the store may use. */
  readonly quota: number;
  /** Pins, and the bytes of the blobs that they are for. */
  readonly pins: number;
  readonly pinnedBytes: number;
  /** The file system of the data folder at the last look, in bytes. */
  readonly disk: DiskSpace;
  readonly state: StoreState;
}

/**
 * `shrinking` and `stopped`: the disk is short of space (watermarks.ts). `unwritable`: the last write failed, as on a disk that
 * has become read-only. In the last two nothing new is stored.
 */
export const STORE_STATES: readonly ['normal', 'shrinking', 'stopped', 'unwritable'] = [
  'normal',
  'shrinking',
  'stopped',
  'unwritable',
];
export type StoreState = (typeof STORE_STATES)[number];

export interface BlobManager {
  /** Drops a committed blob, unless it was imported; open readers keep it. Resolves with whether it was dropped. */
  delete(digest: Digest): Promise<boolean>;
  usage(): StoreUsage;
}

export interface Store extends BlobProvider, BlobIngester, BlobManager, AsyncDisposable {}

/** Whether bytes cannot be kept: the disk is full, read-only, or fails. They can pass through all the same. */
export function cannotKeep(error: unknown): boolean {
  return isWeirError(error, 'store_full', 'store_unusable');
}
