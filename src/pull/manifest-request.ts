/** Requests to Manifests, its answers, and what it needs from other members. */
import type { Digest } from '../oci/digest.ts';
import type { ManifestReference } from '../oci/reference.ts';
import type { Repository } from '../oci/repository.ts';
import type { PullRequest } from './access.ts';
import type { ByteSource } from './blob-reader.ts';
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
