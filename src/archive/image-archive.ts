/**
 * Reads the images of an archive: an OCI layout in a tar (`skopeo copy … oci-archive:`, `docker save` since 25), or what
 * `docker save` and `podman save` wrote before. Blobs go to a sink as they stream by, since the lists that name them
 * may come last. Each is kept under its digest, and nothing that the lists name may be missing or have another size.
 */
import { tryParseDigest, type Digest } from '../oci/digest.ts';
import { MAX_MANIFEST_BYTES } from '../oci/manifest.ts';
import type { ArchiveContent, ArchivedFile, ArchivedImage, BlobSink } from './archive-content.ts';
import { dockerImages } from './docker-archive.ts';
import { layoutImages } from './oci-layout.ts';
import { invalid, shown, tarEntries } from './tar-entries.ts';

/** Files besides blobs: of an old archive its layers and configs, some dozens for each image. */
const MAX_FILES = 2_000;

const DOCUMENTS: ReadonlySet<string> = new Set(['oci-layout', 'index.json', 'manifest.json', 'repositories']);
/** Files that an old archive has beside each layer, and that nothing needs. */
const NEEDLESS = /(?:^|\/)(?:VERSION|json)$/;
const BLOB = /^blobs\/([^/]+)\/([^/]+)$/;

/**
 * @param maxBytes of the archive, after decompression
 * @throws WeirError `archive_invalid`, `digest_mismatch`; the errors of the source and of the sink
 */
export async function readImageArchive(
  source: AsyncIterable<Uint8Array>,
  sink: BlobSink,
  maxBytes: number,
): Promise<readonly ArchivedImage[]> {
  const blobs = new Map<Digest, number>();
  const documents = new Map<string, Uint8Array>();
  const files = new Map<string, ArchivedFile>();
  const links = new Map<string, string>();
  const seen = new Set<string>();
  for await (const entry of tarEntries(source, maxBytes)) {
    const { path } = entry;
    if (seen.has(path)) throw invalid(`${shown(path)} is in it twice`);
    seen.add(path);
    if (entry.kind === 'link') {
      links.set(path, entry.target);
      continue;
    }
    const { size, bytes } = entry;
    if (DOCUMENTS.has(path)) {
      documents.set(path, await readWhole(path, size, bytes));
    } else if (path.startsWith('blobs/')) {
      const digest = digestOfPath(path);
      await sink.keep(digest, size, bytes);
      blobs.set(digest, size);
    } else if (!NEEDLESS.test(path)) {
      if (files.size >= MAX_FILES) throw invalid(`more than ${MAX_FILES} files that are no blobs`);
      const head = new HeadOf(bytes);
      const digest = await sink.keepUnnamed(size, head);
      files.set(path, { digest, size, isGzip: head.isGzip });
      blobs.set(digest, size);
    }
  }
  const content: ArchiveContent = { sink, blobs, documents, files, links };
  const images = documents.has('index.json') ? await layoutImages(content) : await dockerImages(content);
  if (images.length === 0) throw invalid('it has no image');
  return images;
}

/** The digest of `blobs/<algorithm>/<hex>`. @throws WeirError `archive_invalid` */
function digestOfPath(path: string): Digest {
  const [, algorithm, hex] = BLOB.exec(path) ?? [];
  const digest = tryParseDigest(`${algorithm}:${hex}`);
  if (digest === undefined) throw invalid(`${shown(path)} is not the path of a blob`);
  return digest;
}

async function readWhole(path: string, size: number, bytes: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  if (size > MAX_MANIFEST_BYTES) throw invalid(`${shown(path)} has ${size} bytes`);
  const parts: Uint8Array[] = [];
  for await (const part of bytes) parts.push(part);
  return Buffer.concat(parts);
}

/** Passes bytes on, and looks at the first two. */
class HeadOf implements AsyncIterable<Uint8Array> {
  readonly #bytes: AsyncIterable<Uint8Array>;
  #head: Buffer = Buffer.alloc(0);

  constructor(bytes: AsyncIterable<Uint8Array>) {
    this.#bytes = bytes;
  }

  get isGzip(): boolean {
    return this.#head.toString('hex') === '1f8b';
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void> {
    for await (const chunk of this.#bytes) {
      if (this.#head.length < 2)
        this.#head = Buffer.concat([this.#head, chunk.subarray(0, 2)]).subarray(0, 2);
      yield chunk;
    }
  }
}
