/** Reads manifests and indexes, as far as Weir needs them: for what they point to. */
import * as v from 'valibot';
import { MIB } from '../util/clock.ts';
import { WeirError } from '../util/errors.ts';
import { tryParseDigest, type Digest } from './digest.ts';

/** The distribution spec ("Pushing Manifests") asks registries to accept at least 4 MiB, and so does Weir. */
export const MAX_MANIFEST_BYTES: number = 4 * MIB;

export const MEDIA_TYPES = {
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  ociConfig: 'application/vnd.oci.image.config.v1+json',
  ociLayer: 'application/vnd.oci.image.layer.v1.tar',
  ociLayerGzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerList: 'application/vnd.docker.distribution.manifest.list.v2+json',
} as const;

/** The manifest types that a modern client accepts, best first. */
export const ACCEPT_MANIFESTS: string = [
  MEDIA_TYPES.ociIndex,
  MEDIA_TYPES.ociManifest,
  MEDIA_TYPES.dockerList,
  MEDIA_TYPES.dockerManifest,
].join(', ');

export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string | undefined;
}

export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  readonly platform?: Platform | undefined;
  /** Places besides the registry that have the content. */
  readonly urls?: readonly string[] | undefined;
}

export type Manifest =
  | { readonly kind: 'index'; readonly mediaType: string; readonly manifests: readonly Descriptor[] }
  | {
      readonly kind: 'image';
      readonly mediaType: string;
      readonly config: Descriptor;
      readonly layers: readonly Descriptor[];
    };

const digestSchema = v.pipe(
  v.string(),
  v.rawTransform(({ dataset, addIssue, NEVER }) => {
    const digest = tryParseDigest(dataset.value);
    if (digest !== undefined) return digest;
    addIssue({ message: 'not a digest' });
    return NEVER;
  }),
);
// Builders write null for what is absent.
const descriptorSchema = v.object({
  mediaType: v.nullish(v.string(), 'application/octet-stream'),
  digest: digestSchema,
  size: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
  // Nothing that is fetched depends on it, so an odd one counts as none.
  platform: v.fallback(
    v.optional(
      v.object({
        os: v.string(),
        architecture: v.string(),
        variant: v.fallback(v.optional(v.string()), undefined),
      }),
    ),
    undefined,
  ),
  urls: v.fallback(v.optional(v.array(v.string())), undefined),
});
const indexSchema = v.object({
  mediaType: v.nullish(v.string()),
  manifests: v.array(descriptorSchema),
});
const imageSchema = v.object({
  mediaType: v.nullish(v.string()),
  config: descriptorSchema,
  layers: v.nullish(v.array(descriptorSchema), []),
});

/**
 * Reads a manifest or an index, Docker's or OCI's; fields that Weir does not need are ignored.
 * @throws WeirError `reference_invalid` if the bytes are neither
 */
export function parseManifest(bytes: Uint8Array): Manifest {
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8'));
  } catch (cause) {
    throw new WeirError('reference_invalid', 'the manifest is not JSON', { cause });
  }
  const index = v.safeParse(indexSchema, json);
  if (index.success) {
    const mediaType = index.output.mediaType ?? MEDIA_TYPES.ociIndex;
    return { kind: 'index', mediaType, manifests: index.output.manifests };
  }
  const image = v.safeParse(imageSchema, json);
  if (image.success) {
    const mediaType = image.output.mediaType ?? MEDIA_TYPES.ociManifest;
    return { kind: 'image', mediaType, config: image.output.config, layers: image.output.layers };
  }
  const problem = v.summarize(image.issues);
  throw new WeirError('reference_invalid', `neither an image manifest nor an index:\n${problem}`);
}

/** All descriptors of a manifest, in their order. */
export function manifestChildren(manifest: Manifest): readonly Descriptor[] {
  return manifest.kind === 'index' ? manifest.manifests : [manifest.config, ...manifest.layers];
}
