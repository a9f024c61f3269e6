/** Where the demo's image comes from, and how what left it is counted: an embedded registry, or a real one. */
import { join } from 'node:path';
import { MIB } from '../clock.ts';
import { WeirError } from '../errors.ts';
import { parseImageReference, type ImageReference } from '../oci/reference.ts';
import { hostPlatform } from '../client/platform.ts';
import type { ChildNode } from './child.ts';
import { generateImage } from './image.ts';
import { EmbeddedRegistry } from './registry.ts';

/** What left the registry so far. */
export interface UpstreamCount {
  readonly requests: number;
  /** Blobs only, no manifests. */
  readonly blobBytes: number;
}

export interface DemoUpstream extends AsyncDisposable {
  readonly image: ImageReference;
  readonly description: string;
  /** Whether the registry is the demo's own. */
  readonly isEmbedded: boolean;
  count(node: ChildNode): Promise<UpstreamCount>;
}

/** Six layers, about 120 MiB: some seconds at the rate below, and layers of unlike size, as images have. */
const LAYERS: readonly number[] = [48, 32, 20, 12, 6, 2].map((mebibytes) => mebibytes * MIB);

/** Bytes per second: slow enough for progress to be seen, and for the second pull to show what the first did. */
const RATE: number = 50 * MIB;

const NAME = 'demo/app';
const TAG = 'v1';

export async function embeddedUpstream(
  directory: string,
  options: { readonly signal: AbortSignal },
): Promise<DemoUpstream> {
  const spec = { seed: 'weir demo', layers: LAYERS, platforms: [hostPlatform()] };
  const image = await generateImage(join(directory, 'image'), spec, options);
  const registry = await EmbeddedRegistry.start({ rate: RATE });
  registry.add(NAME, TAG, image);
  return {
    image: parseImageReference(`${registry.host}/${NAME}:${TAG}`),
    description: `an embedded registry at ${registry.host}, limited to ${RATE / MIB} MiB/s`,
    isEmbedded: true,
    count: async () => {
      const { requests, blobBytes } = registry.stats;
      return { requests, blobBytes };
    },
    [Symbol.asyncDispose]: () => registry.close(),
  };
}

/** The image's own registry; what leaves it is what the node says that it received. */
export function realUpstream(reference: string): DemoUpstream {
  const image = parseImageReference(reference);
  return {
    image,
    description: `the registry ${image.repository.registry}`,
    isEmbedded: false,
    count: async (node) => {
      const { admin } = node;
      if (admin === undefined) throw new WeirError('internal', 'the node told no address of its metrics');
      const answer = await fetch(new URL('/metrics', admin));
      const text = await answer.text();
      return {
        requests: sumOf(text, 'weir_upstream_requests_total'),
        blobBytes: sumOf(text, 'weir_upstream_bytes_total'),
      };
    },
    [Symbol.asyncDispose]: async () => {},
  };
}

/** The sum over all labels of a metric (Prometheus' text format). */
export function sumOf(text: string, metric: string): number {
  let sum = 0;
  for (const line of text.split('\n')) {
    if (line.startsWith(`${metric} `) || line.startsWith(`${metric}{`)) {
      sum += Number(line.slice(line.lastIndexOf(' ') + 1));
    }
  }
  return sum;
}
