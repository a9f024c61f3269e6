/** What the store has byte workers do with its files. They are open on the main thread, which names their descriptors. */
import type { Digest, DigestAlgorithm } from '../oci/digest.ts';
import type { FileContent, HeldChunk } from '../util/content.ts';

export interface FollowedBlob {
  readonly fd: number;
  /** Bytes of the whole blob. */
  readonly size: number;
  readonly algorithm: DigestAlgorithm;
  /** Memory of its Progress. */
  readonly progress: SharedArrayBuffer;
}

/** The hash of a blob that arrives, computed behind its prefix. */
export interface Following {
  /** The worker that computes it, and its number there. */
  readonly worker: number;
  readonly call: number;
  /** Hexadecimal; of the whole blob, so it resolves once all of it is there. @throws WeirError `worker_lost`, `aborted` */
  readonly hash: Promise<string>;
  stop(): void;
}

export interface ByteFiles {
  /** Writes the chunk, and gives its memory back. @throws WeirError `worker_lost`; the system's error, with its `code` */
  write(chunk: HeldChunk, fd: number, position: number, following?: Following): Promise<void>;
  /** Gives the memory of a chunk back that is not wanted; harmless if it was given back before. */
  give(chunk: Pick<HeldChunk, 'worker' | 'place'>): void;
  follow(blob: FollowedBlob): Following;
  /** Those of the chunks that have their hash. @param hashes sha256 of all chunks, one after the other */
  check(content: FileContent, hashes: Uint8Array, chunks: readonly number[]): Promise<readonly number[]>;
  /** sha256 of a part of the file, of a chunk at most. @throws WeirError `store_corrupt`, `worker_lost` */
  hash(content: FileContent, start: number, end: number): Promise<Uint8Array>;
  /** Hashes the whole file, and each of its chunks. */
  survey(
    content: FileContent,
    digest: Digest,
  ): Promise<{ readonly whole: string; readonly chunks: Uint8Array }>;
}
