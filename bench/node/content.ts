/** The content to pull: two images and two blobs, made once and pushed to a registry, the same in every run. */
import { createHash } from 'node:crypto';
import { openAsBlob } from 'node:fs';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { GIB, KIB, MIB } from '../../src/util/clock.ts';
import { blobPath, generateImage, randomBytesOf } from '../../src/cli/demo/image.ts';
import { parseDigest, type Digest } from '../../src/oci/digest.ts';
import type { Descriptor } from '../../src/oci/manifest.ts';
import { parseImageReference, type ImageReference } from '../../src/oci/reference.ts';

/** 64 MiB: a usual layer; four of them: a usual image. */
export const LAYER_BYTES: number = 64 * MIB;
export const IMAGE_LAYERS = 4;
/** Blobs that are pulled at a time while memory is measured. */
export const PARALLEL_BLOBS = 8;
export const LARGE_BYTES: number = 1 * GIB;
export const SMALL_BYTES: number = 1 * KIB;

const REPOSITORY = 'bench/content';
const SEED = 'weir bench node';

export interface Content {
  /** Four layers. */
  readonly image: Tagged;
  /** Eight layers, of which the first four are those of {@link image}. */
  readonly parallel: Tagged;
  readonly large: Digest;
  readonly small: Digest;
}

export interface Tagged {
  readonly tag: string;
  /** Bytes of all its blobs. */
  readonly bytes: number;
}

/** Makes the content below `folder`, pushes it to the registry, and removes the folder. */
export async function pushContent(url: string, folder: string, signal: AbortSignal): Promise<Content> {
  try {
    const image = await pushImage(url, folder, 'image', layersOf(IMAGE_LAYERS), signal);
    const parallel = await pushImage(url, folder, 'parallel', layersOf(PARALLEL_BLOBS), signal);
    const small = await pushRandom(url, folder, SMALL_BYTES);
    signal.throwIfAborted();
    const large = await pushRandom(url, folder, LARGE_BYTES);
    return { image, parallel, large, small };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** @param registry `127.0.0.1:PORT` */
export function imageReference(registry: string, { tag }: Tagged): ImageReference {
  return parseImageReference(`${registry}/${REPOSITORY}:${tag}`);
}

/** Path of a blob below `/v2/`, for a registry or a mirror. */
export function blobTarget(digest: Digest): string {
  return `${REPOSITORY}/blobs/${digest}`;
}

function layersOf(count: number): readonly number[] {
  return Array.from({ length: count }, () => LAYER_BYTES);
}

/**
 * Makes an image below `folder` and pushes it.
 * @param layers bytes of random content of each layer
 */
export async function pushImage(
  url: string,
  folder: string,
  tag: string,
  layers: readonly number[],
  signal: AbortSignal,
): Promise<Tagged> {
  const spec = { seed: SEED, layers };
  const { top, blobs, size } = await generateImage(folder, spec, { signal });
  for (const { digest } of blobs.values()) {
    if (digest === top.digest) continue;
    signal.throwIfAborted();
    await pushBlob(url, digest, blobPath(folder, digest));
  }
  await putManifest(url, tag, top, blobPath(folder, top.digest));
  return { tag, bytes: size };
}

/** Path of a manifest below `/v2/`. */
export function manifestTarget(tag: string): string {
  return `${REPOSITORY}/manifests/${tag}`;
}

async function pushRandom(url: string, folder: string, size: number): Promise<Digest> {
  const unnamed = join(folder, 'random.tmp');
  const hash = createHash('sha256');
  {
    await using file = await open(unnamed, 'w');
    for (const chunk of randomBytesOf(`${SEED} ${size}`, size)) {
      hash.update(chunk);
      await file.write(chunk);
    }
  }
  const digest = parseDigest(`sha256:${hash.digest('hex')}`);
  const path = blobPath(folder, digest);
  await mkdir(dirname(path), { recursive: true });
  await rename(unnamed, path);
  await pushBlob(url, digest, path);
  return digest;
}

/** Distribution spec, "Pushing a blob monolithically"; a blob that is there is not pushed again. */
async function pushBlob(url: string, digest: Digest, path: string): Promise<void> {
  const there = await fetch(`${url}/v2/${blobTarget(digest)}`, { method: 'HEAD' });
  if (there.status === 200) return;
  const base = `${url}/v2/${REPOSITORY}/blobs/uploads/`;
  const started = await expectStatus(await fetch(base, { method: 'POST' }), 202);
  const location = new URL(started.headers.get('location') ?? '', base);
  location.searchParams.set('digest', digest);
  const headers = { 'content-type': 'application/octet-stream' };
  await expectStatus(await fetch(location, { method: 'PUT', headers, body: await openAsBlob(path) }), 201);
}

async function putManifest(url: string, tag: string, top: Descriptor, path: string): Promise<void> {
  const put = await fetch(`${url}/v2/${REPOSITORY}/manifests/${tag}`, {
    method: 'PUT',
    headers: { 'content-type': top.mediaType },
    body: await openAsBlob(path),
  });
  await expectStatus(put, 201);
}

async function expectStatus(response: Response, status: number): Promise<Response> {
  const body = await response.text();
  if (response.status !== status) throw new Error(`${response.url}: ${response.status}: ${body}`);
  return response;
}
