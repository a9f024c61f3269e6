/**
 * Makes an image of chosen layer sizes on disk, as an OCI image layout (image spec, image-layout.md), so that
 * any tool can push it and the embedded registry can serve it. The same spec gives the same digests.
 *
 * A layer is a real tar of pseudo-random files, gzip-framed without compression: random bytes do not compress anyway, and
 * a GiB is made at the speed of the disk. Nothing is held in memory.
 */
import { createCipheriv, createHash, hash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { pack as createPack, type Pack } from 'tar-stream';
import { MIB } from '../../util/clock.ts';
import { digestHex, digestOf, parseDigest, type Digest } from '../../oci/digest.ts';
import { MEDIA_TYPES, type Descriptor, type Platform } from '../../oci/manifest.ts';

export interface ImageFile {
  readonly path: string;
  readonly content: Uint8Array;
  /** Permission bits; default 0644. */
  readonly mode?: number;
}

export interface LayerSpec {
  /** Bytes of pseudo-random content; the layer is some hundred bytes larger. */
  readonly size: number;
  /** Further files of the layer. */
  readonly files?: readonly ImageFile[];
}

export interface ImageSpec {
  /** The same seed gives the same digests. */
  readonly seed: string;
  readonly layers: readonly (LayerSpec | number)[];
  /** One gives a plain manifest; several give an index, and each platform its own layers. Default: linux/amd64. */
  readonly platforms?: readonly Platform[];
  /** The command of a container of the image. */
  readonly command?: readonly string[];
}

export interface GeneratedImage {
  /** The folder of the OCI layout. */
  readonly directory: string;
  /** The manifest; for several platforms the index. */
  readonly top: Descriptor;
  /** All blobs of the layout, manifests included. */
  readonly blobs: ReadonlyMap<Digest, Descriptor>;
  /** Bytes of all blobs. */
  readonly size: number;
}

const PIECE = MIB;
const LAYOUT_FILE = '{"imageLayoutVersion":"1.0.0"}';
const DEFAULT_PLATFORM: Platform = { os: 'linux', architecture: 'amd64' };
const EPOCH = new Date(0);

export function blobPath(directory: string, digest: Digest): string {
  return join(directory, 'blobs', digest.slice(0, digest.indexOf(':')), digestHex(digest));
}

/** Writes the image into `directory`, named `tag` in its index.json. */
export async function generateImage(
  directory: string,
  spec: ImageSpec,
  options: { readonly tag?: string; readonly signal?: AbortSignal | undefined } = {},
): Promise<GeneratedImage> {
  await mkdir(join(directory, 'blobs', 'sha256'), { recursive: true });
  const writer = new LayoutWriter(directory, options.signal);
  const platforms = spec.platforms ?? [DEFAULT_PLATFORM];
  const manifests: Descriptor[] = [];
  for (const platform of platforms) manifests.push(await writeManifest(writer, spec, platform));
  const [first] = manifests;
  const top =
    manifests.length === 1 && first !== undefined
      ? first
      : await writer.addJson(MEDIA_TYPES.ociIndex, {
          schemaVersion: 2,
          mediaType: MEDIA_TYPES.ociIndex,
          manifests,
        });
  const named = { ...top, annotations: { 'org.opencontainers.image.ref.name': options.tag ?? 'latest' } };
  await writeFile(join(directory, 'oci-layout'), LAYOUT_FILE);
  await writeFile(
    join(directory, 'index.json'),
    JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests: [named] }),
  );
  const size = [...writer.blobs.values()].reduce((sum, blob) => sum + blob.size, 0);
  return { directory, top, blobs: writer.blobs, size };
}

async function writeManifest(writer: LayoutWriter, spec: ImageSpec, platform: Platform): Promise<Descriptor> {
  const platformName = [platform.os, platform.architecture, platform.variant].filter(Boolean).join('/');
  const layers: Descriptor[] = [];
  const diffIds: Digest[] = [];
  for (const [index, layer] of spec.layers.entries()) {
    const wanted = typeof layer === 'number' ? { size: layer } : layer;
    const { descriptor, diffId } = await writer.addLayer(
      wanted,
      `${spec.seed} ${platformName} ${index}`,
      index,
    );
    layers.push(descriptor);
    diffIds.push(diffId);
  }
  const config = await writer.addJson(MEDIA_TYPES.ociConfig, {
    ...platform,
    config: { Env: ['PATH=/usr/bin:/bin'], ...(spec.command === undefined ? {} : { Cmd: spec.command }) },
    rootfs: { type: 'layers', diff_ids: diffIds },
    history: layers.map((_, index) => ({ created: EPOCH.toISOString(), created_by: `layer ${index}` })),
  });
  const manifest = await writer.addJson(MEDIA_TYPES.ociManifest, {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.ociManifest,
    config,
    layers,
  });
  return { ...manifest, platform };
}

class LayoutWriter {
  readonly blobs = new Map<Digest, Descriptor>();
  readonly #directory: string;
  readonly #signal: AbortSignal | undefined;

  constructor(directory: string, signal: AbortSignal | undefined) {
    this.#directory = directory;
    this.#signal = signal;
  }

  async addJson(mediaType: string, value: unknown): Promise<Descriptor> {
    const bytes = Buffer.from(JSON.stringify(value));
    const digest = digestOf(bytes);
    await writeFile(blobPath(this.#directory, digest), bytes);
    return this.#added({ mediaType, digest, size: bytes.length });
  }

  async addLayer(
    layer: LayerSpec,
    seed: string,
    index: number,
  ): Promise<{ descriptor: Descriptor; diffId: Digest }> {
    const pack = createPack();
    const plain = createHash('sha256');
    const packed = createHash('sha256');
    const unnamed = join(this.#directory, 'blobs', `layer-${index}.tmp`);
    const filling = fillTar(pack, layer, seed, index);
    await Promise.all([
      pipeline(
        pack,
        hashing(plain),
        createGzip({ level: 0, chunkSize: PIECE }),
        hashing(packed),
        createWriteStream(unnamed, { highWaterMark: PIECE }),
        this.#signal === undefined ? {} : { signal: this.#signal },
      ),
      filling,
    ]);
    const digest = parseDigest(`sha256:${packed.digest('hex')}`);
    const { size } = await stat(unnamed);
    await rename(unnamed, blobPath(this.#directory, digest));
    const descriptor = this.#added({ mediaType: MEDIA_TYPES.ociLayerGzip, digest, size });
    return { descriptor, diffId: parseDigest(`sha256:${plain.digest('hex')}`) };
  }

  #added(descriptor: Descriptor): Descriptor {
    this.blobs.set(descriptor.digest, descriptor);
    return descriptor;
  }
}

function hashing(into: ReturnType<typeof createHash>) {
  return async function* (chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const chunk of chunks) {
      into.update(chunk);
      yield chunk;
    }
  };
}

/** Feeds the tar as fast as its reader takes it; a destroyed tar (the signal) ends it. */
async function fillTar(pack: Pack, layer: LayerSpec, seed: string, index: number): Promise<void> {
  for (const { path, content, mode = 0o644 } of layer.files ?? []) {
    pack.entry({ name: path, mode, mtime: EPOCH }, Buffer.from(content));
  }
  if (layer.size > 0) {
    const ended = Promise.withResolvers<void>();
    const entry = pack.entry(
      { name: `data/layer-${index}.bin`, size: layer.size, mode: 0o644, mtime: EPOCH },
      (error) => (error ? ended.reject(error) : ended.resolve()),
    );
    await pipeline(() => randomBytesOf(seed, layer.size), entry);
    await ended.promise;
  }
  pack.finalize();
}

/** `size` bytes that depend only on `seed`: the keystream of AES-256-CTR, which is as fast as memory. */
export function* randomBytesOf(seed: string, size: number): Generator<Buffer> {
  const cipher = createCipheriv('aes-256-ctr', hash('sha256', seed, 'buffer'), Buffer.alloc(16));
  const zeros = Buffer.alloc(Math.min(PIECE, size));
  for (let left = size; left > 0; left -= PIECE) {
    yield cipher.update(left < zeros.length ? zeros.subarray(0, left) : zeros);
  }
}

/** The bytes of a blob of a layout, `end` excluded. */
export function readBlob(
  directory: string,
  digest: Digest,
  start: number,
  end: number,
): AsyncIterable<Buffer> {
  return createReadStream(blobPath(directory, digest), { start, end: end - 1 }) as AsyncIterable<Buffer>;
}
