/** Finds the blobs of an image that this node knows: its manifests, and what they list. */
import { WeirError } from '../util/errors.ts';
import type { Digest } from '../oci/digest.ts';
import { manifestChildren, MAX_MANIFEST_BYTES, parseManifest } from '../oci/manifest.ts';
import { formatImageReference, type ImageReference } from '../oci/reference.ts';
import type { Catalog } from '../store/catalog.ts';
import type { BlobProvider } from '../store/store.ts';

/** Manifests of one image that are read: an index has one for each platform, and as many attestations. */
const MAX_MANIFESTS = 128;
/** Blobs of one image: the largest ones have some hundred layers for each platform. */
const MAX_BLOBS = 5000;

export interface ImageBlobsOptions {
  readonly catalog: Pick<Catalog, 'tags'>;
  /** Where manifests are. */
  readonly providers: readonly BlobProvider[];
}

/**
 * The digests of the image: of an index, those platforms whose manifest is here. A tag leads to the digest that upstream
 * named last.
 * @throws WeirError `manifest_unknown` if the tag or its manifest is not here; `upstream_too_large`
 */
export async function imageBlobs(
  image: ImageReference,
  { catalog, providers }: ImageBlobsOptions,
): Promise<readonly Digest[]> {
  const { repository, reference } = image;
  const root =
    reference.kind === 'digest' ? reference.digest : catalog.tags(repository, reference.tag)[0]?.digest;
  const name = formatImageReference(image);
  if (root === undefined)
    throw new WeirError('manifest_unknown', `this node knows no digest of ${name}: pull it first`);
  const found = new Set<Digest>();
  const waiting = [root];
  for (let read = 0; waiting.length > 0;) {
    const digest = waiting.pop();
    if (digest === undefined || found.has(digest)) continue;
    const bytes = await contentOf(digest, providers);
    if (bytes === undefined) continue;
    if (++read > MAX_MANIFESTS) throw tooLarge(name);
    found.add(digest);
    const manifest = parseManifest(bytes);
    const children = manifestChildren(manifest).map((child) => child.digest);
    if (found.size + children.length > MAX_BLOBS) throw tooLarge(name);
    if (manifest.kind === 'index') waiting.push(...children);
    else for (const child of children) found.add(child);
  }
  if (found.size === 0)
    throw new WeirError('manifest_unknown', `the manifest of ${name} is not here: pull it first`);
  return [...found];
}

function tooLarge(name: string): WeirError {
  return new WeirError(
    'upstream_too_large',
    `${name} has more than ${MAX_MANIFESTS} manifests or ${MAX_BLOBS} blobs`,
  );
}

/** Undefined if no provider has it, or if it is larger than any manifest. */
async function contentOf(
  digest: Digest,
  providers: readonly BlobProvider[],
): Promise<Uint8Array | undefined> {
  for (const provider of providers) {
    await using blob = await provider.open(digest);
    if (blob === undefined || blob.size > MAX_MANIFEST_BYTES) continue;
    const bytes = Buffer.alloc(blob.size);
    let done = 0;
    while (done < bytes.length) done += await blob.read(bytes.subarray(done), done);
    return bytes;
  }
  return undefined;
}
