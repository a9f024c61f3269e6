/** Requests to Manifests, its answers, what it needs from other members, and how a stored manifest is read. */
import { WeirError } from '../util/errors.ts';
import type { Digest } from '../oci/digest.ts';
import { MAX_MANIFEST_BYTES } from '../oci/manifest.ts';
import type { ManifestReference } from '../oci/reference.ts';
import type { Repository } from '../oci/repository.ts';
import type { Blob } from '../store/store.ts';
import type { PullRequest } from './access.ts';
import type { ByteSource } from './blob-reader.ts';
import type { TagRequest } from './tags.ts';
import type { TagOwners } from './tag-owners.ts';

export interface ManifestRequest extends PullRequest {
  readonly reference: ManifestReference;
  /** The Accept header as the runtime sent it: a registry may choose the manifest by it. */
  readonly accept: string | undefined;
}

export interface ResolvedManifest {
  readonly digest: Digest;
  readonly mediaType: string;
  /** Undefined only for a HEAD that upstream answered without a length. */
  readonly size: number | undefined;
  /** Undefined for HEAD. */
  readonly bytes: Uint8Array | undefined;
  readonly source: ByteSource;
  /** Upstream could not be reached: this is the digest that the tag had last. */
  readonly stale: boolean;
}

/** What Manifests needs from other members. */
export interface ManifestPeers {
  /** Undefined if each node asks upstream for itself. */
  readonly tagOwners: () => TagOwners | undefined;
  /** The manifest from a member, its digest checked; undefined if no member has it or can get it. */
  fetch(request: ManifestRequest, digest: Digest): Promise<Uint8Array | undefined>;
  /** This node has the manifest now. */
  stored(repository: Repository, digest: Digest, size: number): void;
}

export function isTagged<R extends ManifestRequest>(request: R): request is R & TagRequest {
  return request.reference.kind === 'tag';
}

export function digestOfReference({ reference }: ManifestRequest): Digest {
  if (reference.kind === 'digest') return reference.digest;
  throw new WeirError('internal', 'a tag where a digest was expected');
}

/** @throws WeirError `reference_invalid` for more bytes than a manifest may have; as the blob */
export async function readManifest(blob: Blob): Promise<Uint8Array> {
  if (blob.size > MAX_MANIFEST_BYTES) {
    throw new WeirError('reference_invalid', `${blob.size} bytes are too many for a manifest`);
  }
  const bytes = new Uint8Array(blob.size);
  let position = 0;
  while (position < bytes.length) position += await blob.read(bytes.subarray(position), position);
  return bytes;
}
