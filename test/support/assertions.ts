/** Assertions that the end-to-end tests share. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { digestHex, digestOf } from '../../src/oci/digest.ts';
import type { AccessLog } from './access-log.ts';
import type { Containerd } from './containerd.ts';
import type { TestImage } from './images.ts';
import { describeResult, type Result } from './program.ts';

/** User agents of the runtimes: a request to the registry under one of them went past the mirror. */
const RUNTIME_AGENTS = /containerd|docker\/|containers\/|skopeo|podman|buildah|Go-http-client/i;

export function assertOk(what: string, result: Result): void {
  assert.equal(result.code, 0, describeResult(what, result));
}

export function assertFails(what: string, result: Result): void {
  assert.notEqual(result.code, 0, `${what} should have failed:\n${result.stdout}\n${result.stderr}`);
}

/** No runtime asked the registry itself. */
export function assertNoBypass(log: AccessLog): void {
  const direct = log.matching('/v2/').filter(({ userAgent }) => RUNTIME_AGENTS.test(userAgent));
  assert.deepEqual(
    direct.map(({ method, path, userAgent }) => `${method} ${path} ${userAgent}`),
    [],
    'requests that went past the mirror',
  );
}

/** The registry sent each blob of the image exactly once. */
export function assertSentOnce(log: AccessLog, image: TestImage): void {
  for (const { digest, size } of image.blobs) {
    assert.equal(log.bytes(`/blobs/${digest}`), size, `bytes that the registry sent of ${digest}`);
  }
}

/** containerd holds the manifest and every blob, byte for byte. */
export async function assertIntact(containerd: Containerd, image: TestImage): Promise<void> {
  for (const { digest } of [image, ...image.blobs]) {
    assert.equal(digestOf(await readFile(containerd.blobPath(digest))), digest);
  }
}

/** A `dir:` folder of skopeo holds every blob, byte for byte. */
export async function assertCopied(folder: string, image: TestImage): Promise<void> {
  assert.equal(digestOf(await readFile(join(folder, 'manifest.json'))), image.digest);
  for (const { digest } of image.blobs) {
    assert.equal(digestOf(await readFile(join(folder, digestHex(digest)))), digest);
  }
}
