/** What was found in an archive, and how its parts are read. */
import { WeirError } from '../util/errors.ts';
import type { Digest } from '../oci/digest.ts';
import { MAX_MANIFEST_BYTES } from '../oci/manifest.ts';
import type { ImageReference } from '../oci/reference.ts';
import { invalid } from './tar-entries.ts';

/** Images of one archive. */
export const MAX_IMAGES = 256;

/** Takes the content of an archive. */
export interface BlobSink {
  /** @throws WeirError `digest_mismatch`, `store_full` */
  keep(digest: Digest, size: number, bytes: AsyncIterable<Uint8Array>): Promise<void>;
  /** Keeps bytes whose digest is not known. @throws WeirError `store_full` */
  keepUnnamed(size: number, bytes: AsyncIterable<Uint8Array>): Promise<Digest>;
  /** A small document that was kept. */
  read(digest: Digest): Promise<Uint8Array>;
}

export interface KeptBlob {
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
}

export interface ArchivedFile extends KeptBlob {
  readonly isGzip: boolean;
}

/** What was found in the archive. */
export interface ArchiveContent {
  readonly sink: BlobSink;
  /** Sizes of blobs, in `blobs/` and elsewhere. */
  readonly blobs: Map<Digest, number>;
  /** Lists, by their path. */
  readonly documents: ReadonlyMap<string, Uint8Array>;
  /** Other files, by their path. */
  readonly files: ReadonlyMap<string, ArchivedFile>;
  readonly links: ReadonlyMap<string, string>;
}

export interface ArchivedImage extends KeptBlob {
  /** As the archive calls it; perhaps nothing. */
  readonly names: readonly ImageReference[];
  readonly mediaType: string;
  /** All that belongs to it, its own manifest too. */
  readonly blobs: readonly KeptBlob[];
}

/** JSON of the archive. @throws WeirError `archive_invalid` */
export function parseJson(what: string, bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8'));
  } catch (cause) {
    throw invalid(`${what} is not JSON`, cause);
  }
}

/** A document among the blobs. @throws WeirError `archive_invalid` if it is missing, or too large */
export async function readDocument(
  { sink, blobs }: ArchiveContent,
  what: string,
  digest: Digest,
): Promise<Uint8Array> {
  const size = blobs.get(digest);
  if (size === undefined) throw invalid(`${what} ${digest} is missing`);
  if (size > MAX_MANIFEST_BYTES) throw invalid(`${what} ${digest} has ${size} bytes`);
  return await sink.read(digest);
}

/** Runs a parser of names; a name that is none makes the archive invalid. */
export function orInvalid<T>(parse: () => T): T {
  try {
    return parse();
  } catch (cause) {
    if (cause instanceof WeirError) throw invalid(cause.message, cause);
    throw cause;
  }
}
