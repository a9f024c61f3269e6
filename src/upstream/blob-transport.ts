/**
 * Bodies of blobs are read in byte workers: this thread sends requests, sees the heads of their responses, and says where
 * each body goes. The byte workers implement these interfaces (bytes/upstream-client.ts).
 */
import type { FileContent, HeldChunk, PassContent } from '../util/content.ts';
import type { Digest } from '../oci/digest.ts';
import type { BlobPart } from './blob-part.ts';
import type { PoolOptions } from './pools.ts';
import type { ResponseHead } from './response.ts';
import type { Transport } from './transport.ts';
import type { TrustedFiles } from './trust.ts';

/** Consecutive bytes for a file. */
export interface FileSink {
  readonly kind: 'file';
  readonly file: FileContent;
  /** Makes room for the bytes up to `to`; before that they are not written. @throws WeirError `store_full` */
  reserve(to: number): Promise<void>;
  /** A chunk is whole in the file. @param hash its sha256 */
  wrote(index: number, hash: Uint8Array): void;
}

/** A chunk that has come only in part, in the memory of a byte worker. */
export interface UnfinishedPlace {
  readonly index: number;
  /** The `id` of the worker, and the place in its memory. */
  readonly worker: number;
  readonly place: number;
  /** Bytes of the whole chunk, and those of them that have come. */
  readonly length: number;
  readonly filled: number;
}

/** Chunks in the memory of a byte worker, hashed. */
export interface ChunkSink {
  readonly kind: 'chunks';
  /** Bytes of the blob. */
  readonly size: number;
  /** Hands over the chunk in which the wanted bytes begin, if its first bytes are there already. */
  resume(): UnfinishedPlace | undefined;
  /** Settles when there is room for this chunk: the next one, or the one behind it. @throws if there will be none */
  begin(index: number): Promise<void>;
  chunk(index: number, chunk: HeldChunk): void;
  /** The body is over, and this chunk has come only in part. The sink takes it over. */
  left(unfinished: UnfinishedPlace): void;
}

/** A blob that passes through a byte worker, to a client that is connected to it. */
export interface PassSink {
  readonly kind: 'pass';
  readonly pass: number;
}

export type BodySink = FileSink | ChunkSink | PassSink;

export interface BlobResponse extends ResponseHead {
  /**
   * Reads the body; to be called once. Settles when nothing is written any more.
   * @param reached told how far bytes have come, at least before it settles: the next request goes on there
   * @throws WeirError as readPart, `upstream_cut` if the worker ended (`worker_lost` if it held chunks); an error of the sink;
   *   `store_full`, `store_unusable` if a file cannot be written
   */
  read(part: BlobPart, sink: BodySink, reached: (position: number) => void): Promise<void>;
}

export interface PassWish {
  readonly digest: Digest;
  /** Bytes of the blob. */
  readonly size: number;
  /** Bytes at the end that are held back until the whole digest was found right. */
  readonly heldBack: number;
  /** The first bytes of the blob, if the client has them from a file. */
  readonly prefix: { readonly fd: number; readonly bytes: number } | undefined;
}

/** A blob that passes through a byte worker. */
export interface PassThroughBlob {
  /** For the client's response, which must be in the same worker. */
  readonly content: PassContent;
  readonly sink: PassSink;
  /** The client wants no byte before `to`. */
  skip(to: number): void;
  /** All of it has come: its Progress then tells whether its digest is right. */
  finish(): void;
  close(): void;
}

export interface BlobSettings extends Pick<PoolOptions, 'connectTimeout' | 'headerTimeout' | 'stallTimeout'> {
  /** Counts the changes of the settings. */
  readonly generation: number;
  /** Connections to one origin, for all workers together; each worker has at least one. */
  readonly connections: number;
  readonly environment: PoolOptions['environment'];
  readonly trusted: TrustedFiles;
}

export interface BlobTransport {
  /** To be called before the first request; again for the requests of a later generation. */
  configure(settings: BlobSettings): void;
  /**
   * @param worker the worker that holds the beginning of the wanted bytes; default: any
   * @throws WeirError `worker_lost` if that worker has ended
   */
  via(worker: number | undefined): Transport<BlobResponse>;
  /** @param worker the worker of the client's connection; undefined: any. @throws WeirError `worker_lost` */
  pass(worker: number | undefined, wish: PassWish): PassThroughBlob;
  /** Ends all connections at once. */
  close(): void;
}
