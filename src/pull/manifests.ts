/**
 * Manifests for the mirror, and with Tags (tags.ts) the manifests that tags name. Manifests are stored like every other
 * blob; the catalog knows their media types. A manifest that is not here comes from its owner among the members, so
 * that upstream is asked once. If no member can give it, it comes from upstream.
 */
import { abortable, shared } from '../util/async.ts';
import type { Clock } from '../util/clock.ts';
import { isWeirError, WeirError } from '../util/errors.ts';
import type { Digest } from '../oci/digest.ts';
import { documentType, UNKNOWN_TYPE } from '../oci/manifest-type.ts';
import { manifestChildren, MAX_MANIFEST_BYTES, parseManifest, type Descriptor } from '../oci/manifest.ts';
import { registryBlobId, type RegistryBlob } from '../oci/registry-blob.ts';
import { repositoryKey, type RegistryHost, type Repository } from '../oci/repository.ts';
import type { Catalog, ListedAs, TagRecord } from '../store/catalog.ts';
import type { BlobProvider, Store } from '../store/store.ts';
import { remoteCallerOf } from '../upstream/caller.ts';
import type { FetchedManifest, Upstream } from '../upstream/upstream.ts';
import { isOffline, type Access } from './access.ts';
import type { ByteSource } from './blob-reader.ts';
import type { Imports } from './imports.ts';
import type { ReferenceAnswer, ReferenceQuestion } from '../protocol/reference-messages.ts';
import {
  digestOfReference,
  isTagged,
  readManifest,
  type ManifestPeers,
  type ManifestRequest,
  type ResolvedManifest,
} from './manifest-request.ts';
import { answerOf, type TagOwners } from './tag-owners.ts';
import { Tags, type ResolvedTag, type TagRequest } from './tags.ts';

export interface ManifestsObserver {
  cacheHit(source: ByteSource): void;
  cacheMiss(): void;
  staleTag(repository: string, tag: string, error: unknown): void;
  /** A runtime gets this manifest, or index. */
  handedOut(repository: Repository, bytes: Uint8Array): void;
  problem(message: string, error: unknown): void;
}

export interface ManifestsOptions {
  readonly providers: readonly BlobProvider[];
  readonly store: Pick<Store, 'ingest'>;
  readonly catalog: Catalog;
  readonly upstream: Pick<Upstream, 'headManifest' | 'getManifest' | 'checkReach'>;
  readonly access: Access;
  readonly clock: Clock;
  readonly observer: ManifestsObserver;
  /** Milliseconds for which an answer about a tag holds. */
  readonly tagTtl: number;
  /** Undefined if imports are not trusted. */
  readonly imports?: Imports | undefined;
  /** Undefined if there are no peers. */
  readonly peers?: ManifestPeers | undefined;
}

type Found = Omit<ResolvedManifest, 'stale'>;

interface SourcedManifest extends FetchedManifest {
  readonly source: ByteSource;
}

export class Manifests {
  readonly #options: ManifestsOptions;
  readonly #tags: Tags;
  readonly #fetching: Map<string, Promise<SourcedManifest>> = new Map();
  readonly #storing: Map<string, Promise<void>> = new Map();

  constructor(options: ManifestsOptions) {
    this.#options = options;
    const { catalog, access, clock, tagTtl, peers, observer } = options;
    this.#tags = new Tags({
      catalog,
      access,
      clock,
      ttl: tagTtl,
      head: (request) => this.#headTag(request),
      tagOwners: peers && ((): TagOwners | undefined => peers.tagOwners()),
      onStale: (repository, tag, error) => observer.staleTag(repository, tag, error),
    });
  }

  /**
   * @throws WeirError upstream's answer to this caller, `upstream_*` if upstream could not be asked, or if the manifest
   *   is too large for {@link get}
   */
  async head(request: ManifestRequest): Promise<ResolvedManifest> {
    if (isTagged(request)) {
      const { record, stale, source } = await this.#resolve(request);
      const { digest, mediaType, size } = record;
      // GET refuses it: after a 404 here, too, the client goes to the registry before it has begun.
      if (size !== undefined && size > MAX_MANIFEST_BYTES) throw tooLarge(digest, size);
      return { digest, mediaType, size, bytes: undefined, source, stale };
    }
    const found = await this.#find(request, digestOfReference(request));
    return { ...found, bytes: undefined, stale: false };
  }

  /** @throws WeirError upstream's answer to this caller, `upstream_*` if upstream could not be asked */
  async get(request: ManifestRequest): Promise<ResolvedManifest> {
    const { record, stale } = isTagged(request)
      ? await this.#resolve(request)
      : { record: { digest: digestOfReference(request) }, stale: false };
    const found = await this.#find(request, record.digest);
    if (found.bytes !== undefined) this.#options.observer.handedOut(request.repository, found.bytes);
    return { ...found, stale };
  }

  /** An import goes before the registry's word. */
  async #resolve(request: TagRequest): Promise<ResolvedTag & { readonly source: ByteSource }> {
    const imported = await this.#options.imports?.find(request);
    if (imported !== undefined) return { ...imported, source: imported.isOwn ? 'store' : 'peer' };
    const resolved = await this.#tags.resolve(request);
    return { ...resolved, source: resolved.stale ? 'store' : 'upstream' };
  }

  /** As {@link Tags.forgetRefusals}. */
  forgetRefusals(): void {
    this.#tags.forgetRefusals();
  }

  async #headTag(request: TagRequest): Promise<Omit<TagRecord, 'at'>> {
    const { upstream } = this.#options;
    const { repository, reference, caller, accept } = request;
    const options = { caller, ...(accept === undefined ? {} : { accept }) };
    const head = await upstream.headManifest(repository, reference, options);
    if (head.digest !== undefined) return { ...head, digest: head.digest };
    // Some registries name the digest only with the manifest itself.
    const fetched = await upstream.getManifest(repository, reference, options);
    await this.#keep(request, fetched);
    return { digest: fetched.digest, mediaType: fetched.mediaType, size: fetched.bytes.length };
  }

  async #find(request: ManifestRequest, digest: Digest): Promise<Found> {
    const { access, observer } = this.#options;
    const local = await this.#findLocal(request, digest);
    if (local !== undefined) {
      observer.cacheHit(local.source);
      return local;
    }
    observer.cacheMiss();
    const key = `${repositoryKey(request.repository)} ${digest} ${access.callerKey(request.caller, request.repository)}`;
    const { signal, ...work } = request; // the first caller may leave, and others wait for the same
    const fetched = await abortable(
      shared(this.#fetching, key, () => this.#fetch(work, digest)),
      signal,
    );
    const { mediaType, bytes, source } = fetched;
    return { digest, mediaType, size: bytes.length, bytes, source };
  }

  /** The manifest if it is here and this caller may have it. That is checked first: the digest may be a large blob's. */
  async #findLocal(request: ManifestRequest, digest: Digest): Promise<Found | undefined> {
    for (const provider of this.#options.providers) {
      const stat = await provider.stat(digest);
      if (stat === undefined || stat.size > MAX_MANIFEST_BYTES) continue;
      if ((await this.#options.access.authorize(request, digest, 'manifest')) === 'unproven')
        return undefined;
      const bytes = await this.#read(provider, digest);
      if (bytes === undefined) continue;
      const mediaType = this.#typeOf({ registry: request.repository.registry, digest }, bytes);
      return { digest, mediaType, size: bytes.length, bytes, source: provider.name };
    }
    return undefined;
  }

  async #read(provider: BlobProvider, digest: Digest): Promise<Uint8Array | undefined> {
    const blob = await provider.open(digest);
    try {
      return blob && (await readManifest(blob));
    } catch (error) {
      this.#options.observer.problem(`manifest ${digest}`, error); // upstream will have a good one
      return undefined;
    } finally {
      await blob?.[Symbol.asyncDispose]();
    }
  }

  /** The media type that the document names, else that of the registry in whose name it is asked for. */
  #typeOf(blob: RegistryBlob, bytes: Uint8Array): string {
    return documentType(bytes) ?? this.#options.catalog.mediaType(blob) ?? UNKNOWN_TYPE;
  }

  async #fetch(request: ManifestRequest, digest: Digest): Promise<SourcedManifest> {
    const { access, peers } = this.#options;
    await access.importedSize(request, digest);
    // A member's copy is only for a caller that upstream lets read the manifest.
    if (peers !== undefined && access.isAdmitted(request, digest, 'manifest')) {
      const bytes = await peers.fetch(request, digest);
      if (bytes !== undefined) return this.#fromPeer(request, digest, bytes);
    }
    try {
      return await this.#fromUpstream(request, digest);
    } catch (error) {
      const answer = isOffline(error) ? await peers?.tagOwners()?.recall(request) : undefined;
      if (answer?.digest !== digest) throw error;
      access.acceptedAgo(request, answer.granted);
      const bytes = await peers?.fetch(request, digest);
      if (bytes === undefined) throw error;
      return await this.#fromPeer(request, digest, bytes);
    }
  }

  async #fromPeer(request: ManifestRequest, digest: Digest, bytes: Uint8Array): Promise<SourcedManifest> {
    const mediaType = this.#typeOf({ registry: request.repository.registry, digest }, bytes);
    const fetched = { digest, mediaType, bytes };
    await this.#keep(request, fetched);
    return { ...fetched, source: 'peer' };
  }

  async #fromUpstream(request: ManifestRequest, digest: Digest): Promise<SourcedManifest> {
    const { upstream, access } = this.#options;
    const { repository, caller, accept } = request;
    try {
      const fetched = await upstream.getManifest(
        repository,
        { kind: 'digest', digest },
        { caller, ...(accept === undefined ? {} : { accept }) },
      );
      access.accepted(request);
      await this.#keep(request, fetched);
      return { ...fetched, source: 'upstream' };
    } catch (error) {
      access.failed(request, error);
      throw error;
    }
  }

  /** Answers another member as this node would answer its own caller. */
  async answer(query: ReferenceQuestion): Promise<ReferenceAnswer> {
    const { repository, reference, accept, token, knownOnly, imported } = query;
    if (imported === true) return this.#options.imports?.answer(query) ?? { status: 'unknown' };
    // This node's configured credential may not speak for a caller of another node, which may not have it.
    const caller = remoteCallerOf(repository.registry, token);
    const request = { repository, reference, accept, caller };
    try {
      this.#options.upstream.checkReach(repository.registry, caller);
      if (!isTagged(request)) return this.#knownManifest(request);
      const { access } = this.#options;
      const known = knownOnly ? this.#tags.known(request) : undefined;
      if (knownOnly && known === undefined) return { status: 'unknown' };
      const { record, stale } =
        known === undefined ? await this.#tags.resolve(request, true) : { record: known, stale: true };
      return { status: 'found', ...record, stale, granted: access.grantAge(request) };
    } catch (error) {
      return answerOf(error);
    }
  }

  #knownManifest(request: ManifestRequest): ReferenceAnswer {
    const { access } = this.#options;
    const digest = digestOfReference(request);
    const isKnown = access.holdsOffline(request) && access.isIn(request.repository, digest, 'manifest');
    if (!isKnown) return { status: 'unknown' };
    return {
      status: 'found',
      digest,
      mediaType: UNKNOWN_TYPE, // a member that asks by digest gets the document, which names its type
      size: undefined,
      stale: true,
      granted: access.grantAge(request),
    };
  }

  /**
   * Gets a manifest for another member, with the token that it delegated.
   * @throws WeirError upstream's answer
   */
  async fetchFor(repository: Repository, digest: Digest, token: string | undefined): Promise<Uint8Array> {
    const caller = remoteCallerOf(repository.registry, token);
    const request = {
      repository,
      reference: { kind: 'digest', digest } as const,
      accept: undefined,
      caller,
    };
    const key = `for a peer ${repositoryKey(repository)} ${digest} ${this.#options.access.callerKey(caller, repository)}`;
    return (await shared(this.#fetching, key, () => this.#fromUpstream(request, digest))).bytes;
  }

  async #keep(request: ManifestRequest, { digest, mediaType, bytes }: FetchedManifest): Promise<void> {
    const { catalog, access, clock } = this.#options;
    const { repository } = request;
    access.proven(repository, digest);
    if (documentType(bytes) === undefined) {
      catalog.setMediaType({ registry: repository.registry, digest }, mediaType, clock.now());
    }
    const { kind, children } = listedIn(bytes);
    if (!access.isImported(repository, digest)) access.listed(repository, kind, children);
    await shared(this.#storing, registryBlobId({ registry: repository.registry, digest }), () =>
      this.#store(repository.registry, digest, bytes),
    );
    this.#options.peers?.stored(repository, digest, bytes.length);
  }

  async #store(registry: RegistryHost, digest: Digest, bytes: Uint8Array): Promise<void> {
    const { store, providers, observer } = this.#options;
    for (const provider of providers) if ((await provider.stat(digest)) !== undefined) return;
    try {
      await using ingest = await store.ingest({ registry, digest }, bytes.length);
      await ingest.write(0, [bytes]);
      await ingest.commit();
    } catch (error) {
      observer.problem(`manifest ${digest} is served without being stored`, error);
    }
  }
}

function tooLarge(digest: Digest, size: number): WeirError {
  return new WeirError(
    'upstream_too_large',
    `manifest ${digest} has ${size} bytes, more than ${MAX_MANIFEST_BYTES}`,
  );
}

/** The descriptors that a manifest lists, and their kind; none if the manifest's kind is unknown. */
function listedIn(bytes: Uint8Array): { readonly kind: ListedAs; readonly children: readonly Descriptor[] } {
  try {
    const manifest = parseManifest(bytes);
    // A descriptor with URLs of its own need not be in the registry, whatever the manifest says.
    const children = manifestChildren(manifest).filter(({ urls = [] }) => urls.length === 0);
    return { kind: manifest.kind === 'index' ? 'manifest' : 'blob', children };
  } catch (error) {
    if (isWeirError(error, 'reference_invalid')) return { kind: 'blob', children: [] };
    throw error;
  }
}
