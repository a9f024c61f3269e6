/** A pull as containerd's CRI makes it, every digest checked, from the expected source. */
import { pullImage, type PulledImage } from '../../src/cli/client/pull-image.ts';
import type { ImageReference } from '../../src/oci/reference.ts';
import type { WeirNode } from '../../test/support/weir.ts';

export interface PullOptions {
  /** Undefined: the registry itself. */
  readonly node?: WeirNode;
  /** Source that every config and layer must have, in the words of the Weir-Source header. */
  readonly source: 'registry' | 'upstream' | 'store';
  /** Layers at a time; default: as containerd. */
  readonly concurrency?: number;
  readonly signal: AbortSignal;
}

/** @throws WeirError `digest_mismatch` and those of requests that fail */
export async function pull(image: ImageReference, options: PullOptions): Promise<PulledImage> {
  const { node, source, concurrency, signal } = options;
  const pulled = await pullImage({
    image,
    mirror: node === undefined ? undefined : new URL(node.url),
    registries: new Map([[image.repository.registry, { plainHttp: true }]]),
    concurrency,
    signal,
  });
  for (const blob of pulled.blobs) {
    if (blob.role !== 'layer' && blob.role !== 'config') continue;
    if (blob.source !== source) throw new Error(`${blob.digest} came from ${blob.source}, not ${source}`);
    if (blob.retries > 0) throw new Error(`${blob.digest} was cut off ${blob.retries} times`);
  }
  return pulled;
}
