/** Pushes to an open registry over plain HTTP (distribution spec, "Pushing Content"). */
import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { mkdir, stat, writeFile } from 'node:fs/promises';
import { request, type IncomingMessage } from 'node:http';
import { dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { MIB } from '../../src/util/clock.ts';
import { digestHex, type Digest } from '../../src/oci/digest.ts';
import { MEDIA_TYPES } from '../../src/oci/manifest.ts';
import { descriptorOf, type TestBlob, type TestImage } from './images.ts';

/** Pushes an image, and all blobs and manifests that it names, as `repository:tag`. */
export async function push(url: string, repository: string, tag: string, image: TestImage): Promise<void> {
  await pushContent(url, repository, image);
  await putManifest(url, repository, tag, image);
}

async function pushContent(url: string, repository: string, image: TestImage): Promise<void> {
  for (const child of image.children) {
    await pushContent(url, repository, child);
    await putManifest(url, repository, child.digest, child);
  }
  for (const blob of image.blobs) await pushBlob(url, repository, blob);
}

/** One POST for the upload's address, one PUT with the bytes. */
export async function pushBlob(url: string, repository: string, blob: TestBlob): Promise<void> {
  const base = `${url}/v2/${repository}/blobs`;
  const started = await fetch(`${base}/uploads/`, { method: 'POST' });
  await expectStatus(started, 202);
  const location = new URL(started.headers.get('location') ?? '', base);
  location.searchParams.set('digest', blob.digest);
  const put = await fetch(location, {
    method: 'PUT',
    headers: { 'content-type': 'application/octet-stream' },
    body: Buffer.from(blob.bytes),
  });
  await expectStatus(put, 201);
}

/** Pushes a blob from a file, without holding it in memory. */
export async function pushFile(url: string, repository: string, digest: Digest, file: string): Promise<void> {
  const base = `${url}/v2/${repository}/blobs`;
  const started = await fetch(`${base}/uploads/`, { method: 'POST' });
  await expectStatus(started, 202);
  const location = new URL(started.headers.get('location') ?? '', base);
  location.searchParams.set('digest', digest);
  const { size } = await stat(file);
  const put = request(location, {
    method: 'PUT',
    headers: { 'content-type': 'application/octet-stream', 'content-length': size },
  });
  const answered = once(put, 'response') as Promise<[IncomingMessage]>;
  await pipeline(createReadStream(file, { highWaterMark: MIB }), put);
  const [answer] = await answered;
  const told = await text(answer);
  if (answer.statusCode !== 201)
    throw new Error(`PUT of ${digest} was answered ${answer.statusCode}: ${told}`);
}

export async function putManifest(
  url: string,
  repository: string,
  reference: string,
  image: Pick<TestImage, 'mediaType' | 'bytes'>,
): Promise<void> {
  const put = await fetch(`${url}/v2/${repository}/manifests/${reference}`, {
    method: 'PUT',
    headers: { 'content-type': image.mediaType },
    body: Buffer.from(image.bytes),
  });
  await expectStatus(put, 201);
}

/** Writes an OCI image layout (image spec, image-layout.md) that `skopeo copy oci:…` reads. */
export async function writeLayout(folder: string, tag: string, image: TestImage): Promise<void> {
  const write = async (blob: TestBlob): Promise<void> => {
    const file = join(folder, 'blobs', 'sha256', digestHex(blob.digest));
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, blob.bytes);
  };
  for (const blob of [image, ...image.blobs, ...image.children.flatMap((child) => [child, ...child.blobs])]) {
    await write(blob);
  }
  const named = { ...descriptorOf(image), annotations: { 'org.opencontainers.image.ref.name': tag } };
  const index = { schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests: [named] };
  await writeFile(join(folder, 'index.json'), JSON.stringify(index));
  await writeFile(join(folder, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
}

async function expectStatus(response: Response, status: number): Promise<void> {
  const body = await response.text();
  if (response.status !== status) {
    throw new Error(`${response.url}: expected ${status}, got ${response.status}: ${body}`);
  }
}
