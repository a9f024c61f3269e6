/** What an ingest is given by the store that owns it. */
import type { FileHandle } from 'node:fs/promises';
import type { ByteFiles } from './byte-files.ts';
import type { FsIngest } from './fs-ingest.ts';

export interface IngestOwner {
  /** So many more bytes are about to be written. @throws WeirError `store_full` */
  makeRoom(ingest: FsIngest, bytes: number): Promise<void>;
  /** Notes that bytes could not be written. @returns the error to throw */
  failed(cause: unknown): unknown;
  /** Moves file and chunk map to the committed blobs. */
  publish(ingest: FsIngest): Promise<void>;
  /** The ingest is closed, with or without a commit. */
  released(ingest: FsIngest, committed: boolean): void;
}

export interface IngestFiles {
  readonly data: FileHandle;
  /** Undefined if the blob needs no chunk map on the disk. */
  readonly chunks: FileHandle | undefined;
  /** Works on them. */
  readonly bytes: ByteFiles;
}
