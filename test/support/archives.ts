/** Archives of images for tests, and a sink in memory. */
import { buffer } from 'node:stream/consumers';
import { pack as createPack, type Header } from 'tar-stream';
import type { BlobSink } from '../../src/archive/archive-content.ts';
import { digestHex, digestOf, parseDigest, type Digest } from '../../src/oci/digest.ts';
import { WeirError } from '../../src/util/errors.ts';
import { MEDIA_TYPES } from '../../src/oci/manifest.ts';
import { descriptorOf, type TestImage } from './images.ts';

export type Entry = readonly [
  (Partial<Header> & { name: string }) | string,
  (Uint8Array | string | undefined)?,
];

export async function tarOf(entries: readonly Entry[]): Promise<Buffer> {
  const pack = createPack();
  const whole = buffer(pack as AsyncIterable<Uint8Array>);
  for (const [header, content = ''] of entries) {
    pack.entry(typeof header === 'string' ? { name: header } : header, Buffer.from(content));
  }
  pack.finalize();
  return await whole;
}

/** The bytes in parts, as they come over a connection. */
export async function* inParts(bytes: Uint8Array, size = 10_007): AsyncGenerator<Uint8Array, void> {
  for (let at = 0; at < bytes.length; at += size) yield await Promise.resolve(bytes.subarray(at, at + size));
}

export const json = (value: unknown): string => JSON.stringify(value);

export const blobPath = (digest: string): string => `blobs/${digest.replace(':', '/')}`;

/** The entries of an OCI layout with this image; the lists come last, as skopeo writes them. */
export function layoutEntries(
  image: TestImage,
  annotations: Readonly<Record<string, string>> = {},
): readonly Entry[] {
  const all = [image, ...image.blobs, ...image.children.flatMap((child) => [child, ...child.blobs])];
  const index = {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.ociIndex,
    manifests: [{ ...descriptorOf(image), annotations }],
  };
  return [
    [{ name: 'blobs/', type: 'directory' }],
    ...all.map(({ digest, bytes }): Entry => [blobPath(digest), bytes]),
    ['oci-layout', json({ imageLayoutVersion: '1.0.0' })],
    ['index.json', json(index)],
  ];
}

export interface DockerParts {
  readonly config: string;
  readonly configPath: string;
  readonly layers: readonly Buffer[];
}

export function dockerParts(...layers: readonly string[]): DockerParts {
  const bytes = layers.map((layer) => Buffer.from(layer));
  const config = json({
    os: 'linux',
    rootfs: { type: 'layers', diff_ids: bytes.map((each) => digestOf(each)) },
  });
  return { config, configPath: `${digestHex(digestOf(Buffer.from(config)))}.json`, layers: bytes };
}

/** Entries as `docker save` wrote them before 25; a layer that comes again is a link. */
export function dockerEntries(
  { config, configPath, layers }: DockerParts,
  ...tags: readonly string[]
): Entry[] {
  const entries: Entry[] = layers.flatMap((layer, at): Entry[] => [
    [`${at}/VERSION`, '1.0'],
    [`${at}/json`, '{}'],
    [`${at}/layer.tar`, layer],
  ]);
  const Layers = layers.map((_layer, at) => `${at}/layer.tar`);
  entries.push([configPath, config], ['repositories', '{}']);
  entries.push(['manifest.json', json([{ Config: configPath, RepoTags: tags, Layers }])]);
  return entries;
}

/** Keeps blobs in memory, and checks their digests as the store does. */
export class MemorySink implements BlobSink {
  readonly blobs: Map<Digest, Buffer> = new Map();

  async keep(digest: Digest, size: number, bytes: AsyncIterable<Uint8Array>): Promise<void> {
    const kept = await this.keepUnnamed(size, bytes);
    if (kept !== digest) throw new WeirError('digest_mismatch', `it has ${kept}`);
  }

  async keepUnnamed(_size: number, bytes: AsyncIterable<Uint8Array>): Promise<Digest> {
    const whole = Buffer.concat(await Array.fromAsync(bytes));
    const digest = digestOf(whole);
    this.blobs.set(digest, whole);
    return digest;
  }

  read(digest: Digest): Promise<Uint8Array> {
    const found = this.blobs.get(parseDigest(digest));
    if (found === undefined) throw new Error(`${digest} is not kept`);
    return Promise.resolve(found);
  }
}
