/** The registry of the demo: an embedded one behind a shaped uplink, or that of the image. */
import { statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { formatBytes } from '../client/format.ts';
import { hostPlatform } from '../../oci/platform.ts';
import { MIB } from '../../util/clock.ts';
import { WeirError } from '../../util/errors.ts';
import { parseImageReference, type ImageReference } from '../../oci/reference.ts';
import { generateImage } from './image.ts';
import { EmbeddedRegistry } from './embedded-registry.ts';

/** Bytes and requests that left the registry so far. */
export interface RegistryCount {
  readonly requests: number;
  /** Blobs only, no manifests. */
  readonly blobBytes: number;
}

export interface DemoUpstream extends AsyncDisposable {
  readonly image: ImageReference;
  readonly description: string;
  /** Whether the registry is embedded. */
  readonly isEmbedded: boolean;
  /** Bytes per second of each node's link, either way; undefined: as fast as it gets. */
  readonly link: number | undefined;
  /** Undefined: the demo cannot see the registry's counts. */
  readonly count: (() => RegistryCount) | undefined;
}

/**
 * Bytes per second of the registry's uplink and of each node's link, either way. With {@link ALL_BYTES} a pull without
 * sharing takes 15 seconds, however many nodes there are. It is so slow that links are the bound, as between machines, and
 * not the processors that all nodes share here.
 */
const RATE = 16 * MIB;
/** Limit of bytes that all nodes pull together, as they share the processors of one machine. */
const ALL_BYTES = 240 * MIB;
/** Bytes of the image, unless many nodes pull it. */
const MAX_IMAGE = 60 * MIB;
/** Sizes of six unequal layers as shares of the image. */
const LAYERS: readonly number[] = [24, 16, 12, 6, 4, 2].map((part) => part / 64);

const NAME = 'demo/app';
const TAG = 'v1';

/** @throws WeirError `store_full` if the disk cannot hold the stores of so many nodes */
export async function embeddedUpstream(
  directory: string,
  options: { readonly nodes: number; readonly signal: AbortSignal },
): Promise<DemoUpstream> {
  const { nodes, signal } = options;
  const size = Math.min(MAX_IMAGE, ALL_BYTES / nodes);
  await expectRoom(directory, (nodes + 2) * size);
  const layers = LAYERS.map((part) => Math.floor(part * size));
  const spec = { seed: 'weir demo', layers, platforms: [hostPlatform()] };
  const image = await generateImage(join(directory, 'image'), spec, { signal });
  const registry = await EmbeddedRegistry.start({ rate: RATE });
  registry.add(NAME, TAG, image);
  return {
    image: parseImageReference(`${registry.host}/${NAME}:${TAG}`),
    description: `embedded, at ${registry.host}; it and each node have a link of ${RATE / MIB} MiB/s`,
    isEmbedded: true,
    link: RATE,
    count: () => registry.stats,
    [Symbol.asyncDispose]: () => registry.close(),
  };
}

/** The image's own registry. Its bytes are those that clients and nodes report to have received from it. */
export function realUpstream(reference: string): DemoUpstream {
  const image = parseImageReference(reference);
  return {
    image,
    description: `${image.repository.registry}; links are not limited`,
    isEmbedded: false,
    link: undefined,
    count: undefined,
    [Symbol.asyncDispose]: async () => {},
  };
}

async function expectRoom(directory: string, bytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(directory);
  if (bavail * bsize >= bytes) return;
  const problem = `the demo needs ${formatBytes(bytes)} in ${directory}, and ${formatBytes(bavail * bsize)} are free`;
  throw new WeirError('store_full', `${problem}: take fewer nodes, or another TMPDIR`);
}
