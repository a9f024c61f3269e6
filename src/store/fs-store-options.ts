/** What the store on disk is opened with. */
import type { Clock } from '../util/clock.ts';
import type { Digest } from '../oci/digest.ts';
import type { RegistryHost } from '../oci/repository.ts';
import type { ByteFiles } from './byte-files.ts';
import type { DataFolder } from './data-folder.ts';
import type { DiskChange, ReadDiskSpace } from './disk.ts';
import type { Pins } from './pins.ts';
import type { BlobInfo } from './store.ts';
import type { Watermarks } from './watermarks.ts';

export interface FsStoreOptions {
  readonly folder: DataFolder;
  /** Bytes; `auto` is the smaller of 20 GiB and a tenth of the disk. */
  readonly quota: number | 'auto';
  /** Partial blobs that no pull has resumed for this many milliseconds are dropped at the start. */
  readonly partialMaxAge: number;
  /** Shares of the disk that stay free; default: only what other programs need at least. */
  readonly watermarks?: Watermarks;
  /** Default: statfs(2). */
  readonly readSpace?: ReadDiskSpace;
  /** Blobs that are never evicted; default: none. */
  readonly pins?: Pins;
  readonly clock: Clock;
  /** Reads, writes and hashes the files of blobs. */
  readonly files: ByteFiles;
  /** Whether this registry has delivered anything; default: all have. */
  readonly hasDelivered?: (registry: RegistryHost) => boolean;
  /** Whether this blob must stay, though nobody may read it; default: none must. */
  readonly isPinned?: (digest: Digest) => boolean;
  readonly onEvict?: (info: BlobInfo) => void;
  /** A blob is complete and can be opened. */
  readonly onCommit?: (info: BlobInfo) => void;
  /** The disk has become short of space, or has space again. */
  readonly onDisk?: (change: DiskChange) => void;
  /** Nothing can be written any more (with the reason), or again (undefined). */
  readonly onWritable?: (problem: string | undefined) => void;
  /** A blob was found damaged and dropped, or a file could not be handled; for the log. */
  readonly onProblem?: (message: string) => void;
}
