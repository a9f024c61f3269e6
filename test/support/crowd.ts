/** Shared by tests of several nodes: an image in a real registry, its pulls through nodes, and their cost. */
import assert from 'node:assert/strict';
import type { PulledImage } from '../../src/cli/client/pull-image.ts';
import { buildImage, type TestImage } from './images.ts';
import { push } from './push.ts';
import type { Registry } from './registry.ts';
import type { WeirNode } from './weir.ts';
import { pullThrough } from './weir-cluster.ts';

const BLOBS = '/blobs/';

/** An image in a registry. */
export interface Wares {
  readonly image: TestImage;
  /** `127.0.0.1:5000/crowd/app:v1`. */
  readonly name: string;
  /** `crowd/app`. */
  readonly repository: string;
}

/** Pushes an image of these layers, and forgets earlier requests to the registry. */
export async function stock(
  registry: Registry,
  repository: string,
  layers: readonly number[],
  seed = repository,
): Promise<Wares> {
  const image = await buildImage({ seed, layers });
  await push(registry.url, repository, 'v1', image);
  await forget(registry);
  return { image, repository, name: `${registry.host}/${repository}:v1` };
}

/** Bytes of blobs that have left the registry since {@link stock} or {@link forget}. */
export async function blobBytes(registry: Registry): Promise<number> {
  await registry.accessLog.settled();
  return registry.accessLog.bytes(BLOBS);
}

export async function forget(registry: Registry): Promise<void> {
  await registry.accessLog.settled();
  registry.accessLog.clear();
}

/** Pulls through all of these nodes at once; each pull must bring the whole image. */
export async function pullAtOnce(nodes: readonly WeirNode[], wares: Wares): Promise<void> {
  const pulls = await Promise.allSettled(nodes.map((node) => pullThrough(node, wares.name)));
  for (const [index, pull] of pulls.entries()) {
    if (pull.status === 'rejected') throw pullFailure(nodes[index], pull.reason);
    assertWhole(pull.value, wares.image);
  }
}

export function assertWhole(pull: PulledImage, image: TestImage): void {
  assert.equal(pull.digest, image.digest);
  const pulled = pull.blobs.map(({ digest }) => digest).toSorted();
  assert.deepEqual(pulled, [...new Set([image, ...image.blobs].map(({ digest }) => digest))].toSorted());
}

/** Bytes of the blobs of all these images, each once. */
export function bytesOf(...images: readonly TestImage[]): number {
  const sizes = new Map(images.flatMap(({ blobs }) => blobs.map(({ digest, size }) => [digest, size])));
  return sizes.values().reduce((sum, size) => sum + size, 0);
}

function pullFailure(node: WeirNode | undefined, reason: unknown): Error {
  const cause = reason instanceof Error ? reason : new Error(String(reason));
  const failure = node?.failure(`a pull through it failed: ${cause.message}`);
  return new Error(failure?.message ?? cause.message, { cause });
}
