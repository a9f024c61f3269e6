/**
 * Images for the tests, in memory: those of src/cli/demo/image.ts, and in addition Docker's media types,
 * lists of any children, and artifacts. A seed makes every digest repeatable.
 */
import { readFile } from 'node:fs/promises';
import { arch } from 'node:process';
import {
  blobPath,
  generateImage,
  randomBytesOf,
  type ImageFile,
  type LayerSpec,
} from '../../src/cli/demo/image.ts';
import { digestOf, type Digest } from '../../src/oci/digest.ts';
import { MEDIA_TYPES, parseManifest, type Descriptor, type Platform } from '../../src/oci/manifest.ts';
import { TempDir } from './temp.ts';

export interface TestBlob extends Descriptor {
  readonly bytes: Uint8Array;
}

/** A manifest or an index, with all that must be pushed before it. */
export interface TestImage extends TestBlob {
  /** Config first, then the layers. */
  readonly blobs: readonly TestBlob[];
  /** Of an index: the manifests that it names. */
  readonly children: readonly TestImage[];
}

export interface ImageOptions {
  readonly seed: string;
  /** Each layer, or its number of random bytes. */
  readonly layers?: readonly (LayerSpec | number)[];
  readonly platform?: Platform;
  readonly format?: 'oci' | 'docker';
}

/** The platform of this machine in Go's words. */
export const HOST_PLATFORM: Platform = { os: 'linux', architecture: arch === 'x64' ? 'amd64' : arch };

/** A layer without any entry. */
export const EMPTY_LAYER: LayerSpec = { size: 0 };

const BUSYBOX = '/bin/busybox';

const DOCKER_TYPES: Readonly<Record<string, string>> = {
  [MEDIA_TYPES.ociManifest]: MEDIA_TYPES.dockerManifest,
  [MEDIA_TYPES.ociIndex]: MEDIA_TYPES.dockerList,
  [MEDIA_TYPES.ociConfig]: 'application/vnd.docker.container.image.v1+json',
  [MEDIA_TYPES.ociLayerGzip]: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
};

/** An image of the given layers. It says "hello from weir" when it is run, if it holds busybox. */
export async function buildImage(options: ImageOptions): Promise<TestImage> {
  const { seed, layers = [1000], platform = HOST_PLATFORM, format = 'oci' } = options;
  await using dir = await TempDir.create('image');
  const command = [BUSYBOX, 'echo', 'hello from weir'];
  const { top } = await generateImage(dir.path, { seed, layers, platforms: [platform], command });
  const load = async (descriptor: Descriptor): Promise<TestBlob> => ({
    ...descriptor,
    bytes: await readFile(blobPath(dir.path, descriptor.digest)),
  });
  const manifest = parseManifest((await load(top)).bytes);
  if (manifest.kind !== 'image') throw new Error('one platform makes a plain manifest');
  const blobs = await Promise.all([manifest.config, ...manifest.layers].map(load));
  return assemble(blobs, platform, format);
}

/** An image that can run: its rootfs is Debian's static busybox, the last of its layers. */
export async function buildRunnableImage(options: ImageOptions): Promise<TestImage> {
  const busybox: ImageFile = { path: 'bin/busybox', content: await readFile(BUSYBOX), mode: 0o755 };
  const ownership: ImageFile = { path: 'etc/seed', content: Buffer.from(options.seed) };
  const rootfs: LayerSpec = { size: 0, files: [busybox, ownership] };
  return buildImage({ ...options, layers: [...(options.layers ?? []), rootfs] });
}

/** An image index, or in Docker's words a manifest list. */
export function buildIndex(children: readonly TestImage[], format: 'oci' | 'docker' = 'oci'): TestImage {
  const mediaType = typeIn(format, MEDIA_TYPES.ociIndex);
  const manifests = children.map((child) => ({ ...descriptorOf(child), platform: child.platform }));
  return { ...jsonBlob(mediaType, { schemaVersion: 2, mediaType, manifests }), blobs: [], children };
}

/** An artifact (image spec, "Guidelines for Artifact Usage"), of `subject` if it is given. */
export function buildArtifact(payload: Uint8Array, subject?: TestImage): TestImage {
  const config = jsonBlob('application/vnd.oci.empty.v1+json', {});
  const content = blob('application/vnd.weir.test', payload);
  const manifest = jsonBlob(MEDIA_TYPES.ociManifest, {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.ociManifest,
    artifactType: 'application/vnd.weir.test',
    config: descriptorOf(config),
    layers: [descriptorOf(content)],
    ...(subject && { subject: descriptorOf(subject) }),
  });
  return { ...manifest, blobs: [config, content], children: [] };
}

export function blob(mediaType: string, bytes: Uint8Array): TestBlob {
  return { mediaType, digest: digestOf(bytes), size: bytes.length, bytes };
}

/** The descriptor of a blob in a manifest. */
export function descriptorOf({ mediaType, digest, size }: Descriptor): Descriptor {
  return { mediaType, digest, size };
}

/** `size` repeatable bytes that do not compress. */
export function randomBytes(seed: string, size: number): Buffer {
  return Buffer.concat([...randomBytesOf(seed, size)]);
}

/** The largest blob of an image. */
export function largestBlob(image: TestImage): TestBlob {
  const [largest] = image.blobs.toSorted((a, b) => b.size - a.size);
  if (largest === undefined) throw new Error('the image has no blob');
  return largest;
}

export function pathOf(digest: Digest): RegExp {
  return new RegExp(`/${digest}`);
}

function assemble(blobs: readonly TestBlob[], platform: Platform, format: 'oci' | 'docker'): TestImage {
  const [config, ...layers] = blobs.map((each) => ({ ...each, mediaType: typeIn(format, each.mediaType) }));
  if (config === undefined) throw new Error('an image has a config');
  const mediaType = typeIn(format, MEDIA_TYPES.ociManifest);
  const manifest = jsonBlob(mediaType, {
    schemaVersion: 2,
    mediaType,
    config: descriptorOf(config),
    layers: layers.map(descriptorOf),
  });
  return { ...manifest, platform, blobs: [config, ...layers], children: [] };
}

function typeIn(format: 'oci' | 'docker', mediaType: string): string {
  return format === 'oci' ? mediaType : (DOCKER_TYPES[mediaType] ?? mediaType);
}

function jsonBlob(mediaType: string, value: unknown): TestBlob {
  return blob(mediaType, Buffer.from(JSON.stringify(value)));
}
