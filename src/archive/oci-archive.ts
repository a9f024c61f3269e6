/** Writes an OCI image layout as a tar: an archive of an image that is written, or a folder that is there already. */
import { createReadStream } from 'node:fs';
import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { pack as createPack, type Pack } from 'tar-stream';
import { drained } from './drained.ts';
import { digestAlgorithm, digestHex, type Digest } from '../oci/digest.ts';
import { MEDIA_TYPES } from '../oci/manifest.ts';
import { formatImageReference, type ImageReference } from '../oci/reference.ts';
import { systemCode, toError, WeirError } from '../util/errors.ts';

/** The same image makes the same archive whenever it is written. */
const HEADER = { mode: 0o644, mtime: new Date(0), uid: 0, gid: 0 } as const;
const LAYOUT = Buffer.from('{"imageLayoutVersion":"1.0.0"}');

interface Root {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
}

export class OciArchiveWriter {
  readonly #pack: Pack = createPack();
  readonly #written: Promise<void>;
  readonly #seen: Set<Digest> = new Set();
  #entry: ReturnType<Pack['entry']> | undefined;

  /** @param end whether the output ends with the archive */
  constructor(output: NodeJS.WritableStream, end: boolean) {
    this.#written = pipeline(this.#pack as AsyncIterable<Uint8Array>, output, { end });
    this.#written.catch((error: unknown) => this.#pack.destroy(toError(error)));
    this.#pack.on('error', () => undefined); // whoever waits for `#written` gets it
  }

  /** Begins a blob; its bytes follow, all of them and in order. */
  begin(digest: Digest, size: number): void {
    this.#seen.add(digest);
    this.#entry = this.#pack.entry({ ...HEADER, name: pathOfBlob(digest), size });
    this.#entry.on('error', () => undefined); // it is the archive's
  }

  async write(bytes: Uint8Array): Promise<void> {
    const entry = this.#entry;
    // Its buffer belongs to whoever reads the next bytes into it.
    if (entry === undefined || entry.write(Buffer.from(bytes))) return;
    await drained(entry);
    if (entry.destroyed) await this.#written;
  }

  end(): void {
    this.#entry?.end(undefined);
    this.#entry = undefined;
  }

  async document(digest: Digest, bytes: Uint8Array): Promise<void> {
    if (this.#seen.has(digest)) return;
    this.begin(digest, bytes.length);
    await this.write(bytes);
    this.end();
  }

  /** Writes the lists, and resolves when the output has all. */
  async finish(root: Root, image: ImageReference): Promise<void> {
    const { repository, reference } = image;
    const annotations =
      reference.kind === 'digest'
        ? {}
        : {
            'io.containerd.image.name': formatImageReference({ repository, reference }),
            'org.opencontainers.image.ref.name': reference.tag,
          };
    const manifests = [{ ...root, annotations }];
    const index = { schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests };
    this.#pack.entry({ ...HEADER, name: 'index.json' }, JSON.stringify(index));
    this.#pack.entry({ ...HEADER, name: 'oci-layout' }, LAYOUT);
    this.#pack.finalize();
    await this.#written;
  }

  /** Gives up: the output fails too. */
  async abandon(): Promise<void> {
    this.#pack.destroy();
    await this.#written.catch(() => undefined);
  }
}

function pathOfBlob(digest: Digest): string {
  return `blobs/${digestAlgorithm(digest)}/${digestHex(digest)}`;
}

/**
 * The tar of an OCI layout that is a folder.
 * @throws WeirError `archive_invalid` if the folder is none
 */
export async function* packedLayout(folder: string): AsyncGenerator<Uint8Array, void> {
  const files = await filesOf(folder);
  const pack = createPack();
  const packed = packFiles(pack, folder, files);
  try {
    yield* pack as AsyncIterable<Uint8Array>;
  } finally {
    pack.destroy();
    await packed;
  }
}

async function filesOf(folder: string): Promise<readonly string[]> {
  const found: string[] = [];
  for (const name of ['oci-layout', 'index.json']) {
    const isFile = await lstat(join(folder, name)).then(
      (file) => file.isFile(),
      () => false,
    );
    if (!isFile) throw new WeirError('archive_invalid', `${folder} is no OCI layout: it has no ${name}`);
    found.push(name);
  }
  for (const algorithm of await namesIn(join(folder, 'blobs'))) {
    for (const hex of await namesIn(join(folder, 'blobs', algorithm)))
      found.push(`blobs/${algorithm}/${hex}`);
  }
  return found;
}

async function namesIn(folder: string): Promise<readonly string[]> {
  try {
    return (await readdir(folder)).toSorted();
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return [];
    throw error;
  }
}

/** Never rejects: the reader of the tar gets the error. */
async function packFiles(pack: Pack, folder: string, files: readonly string[]): Promise<void> {
  try {
    for (const name of files) {
      const path = join(folder, name);
      const { size } = await lstat(path);
      const entry = pack.entry({ ...HEADER, name, size });
      entry.on('error', () => undefined); // it is the archive's
      for await (const part of createReadStream(path) as AsyncIterable<Buffer>) {
        if (!entry.write(part)) await drained(entry);
        if (pack.destroyed) return;
      }
      entry.end(undefined);
    }
    pack.finalize();
  } catch (error) {
    pack.destroy(toError(error));
  }
}
