/** What the store on disk is opened with. */
import type { Clock } from '../util/clock.ts';
import type { Digest } from '../oci/digest.ts';
import type { RegistryHost } from '../oci/repository.ts';
import type { ByteFiles } from './byte-files.ts';
import type { DataFolder } from './data-folder.ts';
import type { BlobInfo } from './store.ts';

export interface FsStoreOptions {
  readonly folder: DataFolder;
  /** Bytes; `auto` is the smaller of 20 GiB and a tenth of the disk. */
  readonly quota: number | 'auto';
  /** Partial blobs that no pull has resumed for this many milliseconds are dropped at the start. */
  readonly partialMaxAge: number;
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
  /** A blob was found damaged and dropped, or a file could not be handled; for the log. */
  readonly onProblem?: (message: string) => void;
}
