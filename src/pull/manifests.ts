/**
 * Manifests and tags for the mirror.
 *
 * A tag is asked of upstream with HEAD, by each caller for itself and at most once in a few seconds; while upstream
 * cannot be reached, the digest that it named last stands in, marked as stale. Manifests lie in the store like
 * every other blob; the catalog knows their media types.
 */
import { LRUCache } from 'lru-cache';
import type { Clock } from '../clock.ts';
import { isWeirError, WeirError } from '../errors.ts';
import { acceptedTypes, isAccepted } from '../oci/accept.ts';
import { digestOf, type Digest } from '../oci/digest.ts';
import { MAX_MANIFEST_BYTES, parseManifest } from '../oci/manifest.ts';
import type { ManifestReference, Tag } from '../oci/reference.ts';
import { repositoryKey } from '../oci/repository.ts';
import type { Catalog, TagRecord } from '../store/catalog.ts';
import type { Blob, BlobProvider, Store } from '../store/store.ts';
import type { FetchedManifest, Upstream } from '../upstream/upstream.ts';
import { isOffline, type Access, type PullRequest } from './access.ts';
import type { ByteSource } from './reading.ts';
import { abortable } from './wait.ts';

/** Answers about tags that are remembered for a few seconds. */
const MAX_RECENT_TAGS = 10_000;

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

export interface ManifestsObserver {
  cacheHit(source: ByteSource): void;
  cacheMiss(): void;
  staleTag(repository: string, tag: string, error: unknown): void;
  problem(message: string, error: unknown): void;
}

export interface ManifestsOptions {
  readonly providers: readonly BlobProvider[];
  readonly store: Pick<Store, 'ingest'>;
  readonly catalog: Catalog;
  readonly upstream: Pick<Upstream, 'headManifest' | 'getManifest'>;
  readonly access: Access;
  readonly clock: Clock;
  readonly observer: ManifestsObserver;
  /** Milliseconds for which an answer about a tag holds. */
  readonly tagTtl: number;
}

type Found = Omit<ResolvedManifest, 'stale'>;

export class Manifests {
  readonly #options: ManifestsOptions;
  readonly #recentTags: LRUCache<string, TagRecord>;
  readonly #resolving: Map<string, Promise<TagRecord>> = new Map();
  readonly #fetching: Map<string, Promise<FetchedManifest>> = new Map();
  readonly #storing: Map<string, Promise<void>> = new Map();

  constructor(options: ManifestsOptions) {
    this.#options = options;
    const perf = { now: (): number => options.clock.monotonic() };
    // lru-cache takes a ttl of 0 for "for ever".
    this.#recentTags = new LRUCache({ max: MAX_RECENT_TAGS, ttl: Math.max(1, options.tagTtl), perf });
  }

  /** @throws WeirError what upstream answered this caller, `upstream_*` where it could not be asked */
  async head(request: ManifestRequest): Promise<ResolvedManifest> {
    if (request.reference.kind === 'tag') {
      const { record, stale } = await this.#resolve(request, request.reference.tag);
      const { digest, mediaType, size } = record;
      return { digest, mediaType, size, bytes: undefined, source: stale ? 'store' : 'upstream', stale };
    }
    const found = await this.#find(request, request.reference.digest);
    return { ...found, bytes: undefined, stale: false };
  }

  /** @throws WeirError what upstream answered this caller, `upstream_*` where it could not be asked */
  async get(request: ManifestRequest): Promise<ResolvedManifest> {
    if (request.reference.kind === 'digest') {
      return { ...(await this.#find(request, request.reference.digest)), stale: false };
    }
    const { record, stale } = await this.#resolve(request, request.reference.tag);
    return { ...(await this.#find(request, record.digest)), stale };
  }

  async #resolve(request: ManifestRequest, tag: Tag): Promise<{ record: TagRecord; stale: boolean }> {
    const { access, catalog, observer } = this.#options;
    const repository = repositoryKey(request.repository);
    const types = acceptedTypes(request.accept);
    const acceptKey = digestOf(Buffer.from(types.join(' ')));
    const key = `${repository} ${tag} ${acceptKey} ${access.callerKey(request.credential)}`;
    const recent = this.#recentTags.get(key);
    if (recent !== undefined) return { record: recent, stale: false };
    const resolving = shared(this.#resolving, key, () => this.#askForTag(request, tag, acceptKey, key));
    try {
      return { record: await abortable(resolving, request.signal), stale: false };
    } catch (error) {
      if (!isOffline(error)) throw error;
      access.offline(request, error);
      // What upstream named for the same Accept, else the newest that this caller can read.
      const known = catalog.tags(repository, tag);
      const record =
        known.find(({ accept }) => accept === acceptKey) ??
        known.find(({ mediaType }) => isAccepted(types, mediaType));
      if (record === undefined) throw error;
      observer.staleTag(repository, tag, error);
      return { record, stale: true };
    }
  }

  async #askForTag(request: ManifestRequest, tag: Tag, acceptKey: string, key: string): Promise<TagRecord> {
    const { access, catalog, clock } = this.#options;
    const repository = repositoryKey(request.repository);
    try {
      const record = { ...(await this.#headTag(request)), at: clock.now() };
      access.accepted(request);
      catalog.setTag(repository, tag, acceptKey, record);
      this.#recentTags.set(key, record);
      return record;
    } catch (error) {
      access.failed(request, error);
      if (isWeirError(error, 'manifest_unknown')) catalog.deleteTag(repository, tag);
      throw error;
    }
  }

  async #headTag(request: ManifestRequest): Promise<Omit<TagRecord, 'at'>> {
    const { upstream } = this.#options;
    const { repository, reference, credential, accept } = request;
    const options = { credential, ...(accept === undefined ? {} : { accept }) };
    const head = await upstream.headManifest(repository, reference, options);
    if (head.digest !== undefined) return { ...head, digest: head.digest };
    // Some registries name the digest only with the manifest itself.
    const fetched = await upstream.getManifest(repository, reference, options);
    await this.#keep(request, fetched);
    return { digest: fetched.digest, mediaType: fetched.mediaType, size: fetched.bytes.length };
  }

  async #find(request: ManifestRequest, digest: Digest): Promise<Found> {
    const { access, observer } = this.#options;
    const local = await this.#findLocal(digest);
    if (local !== undefined && (await access.authorize(request, digest, 'manifest')) === 'granted') {
      observer.cacheHit(local.source);
      return local;
    }
    observer.cacheMiss();
    const key = `${repositoryKey(request.repository)} ${digest} ${access.callerKey(request.credential)}`;
    const fetched = await abortable(
      shared(this.#fetching, key, () => this.#fetch(request, digest)),
      request.signal,
    );
    const { mediaType, bytes } = fetched;
    return { digest, mediaType, size: bytes.length, bytes, source: 'upstream' };
  }

  async #findLocal(digest: Digest): Promise<Found | undefined> {
    for (const provider of this.#options.providers) {
      const blob = await provider.open(digest);
      if (blob === undefined) continue;
      try {
        const bytes = await readManifest(blob);
        const mediaType = this.#options.catalog.mediaType(digest) ?? parseManifest(bytes).mediaType;
        return { digest, mediaType, size: bytes.length, bytes, source: provider.name };
      } catch (error) {
        this.#options.observer.problem(`manifest ${digest}`, error); // upstream will have a good one
      } finally {
        await blob[Symbol.asyncDispose]();
      }
    }
    return undefined;
  }

  async #fetch(request: ManifestRequest, digest: Digest): Promise<FetchedManifest> {
    const { upstream, access } = this.#options;
    const { repository, credential, accept } = request;
    try {
      const fetched = await upstream.getManifest(
        repository,
        { kind: 'digest', digest },
        { credential, ...(accept === undefined ? {} : { accept }) },
      );
      await this.#keep(request, fetched);
      return fetched;
    } catch (error) {
      access.failed(request, error);
      throw error;
    }
  }

  async #keep(request: ManifestRequest, { digest, mediaType, bytes }: FetchedManifest): Promise<void> {
    const { catalog, access, clock } = this.#options;
    access.delivered(request, digest);
    catalog.setMediaType(digest, mediaType, clock.now());
    await shared(this.#storing, digest, () => this.#store(digest, bytes));
  }

  async #store(digest: Digest, bytes: Uint8Array): Promise<void> {
    const { store, observer } = this.#options;
    if ((await this.#findLocal(digest)) !== undefined) return;
    try {
      await using ingest = await store.ingest(digest, bytes.length);
      await ingest.write(0, [bytes]);
      await ingest.commit();
    } catch (error) {
      observer.problem(`manifest ${digest} is served without being stored`, error);
    }
  }
}

/** The work under `key` that is under way, else begins it; whoever gives up waiting does not end it. */
function shared<T>(works: Map<string, Promise<T>>, key: string, begin: () => Promise<T>): Promise<T> {
  let work = works.get(key);
  if (work === undefined) {
    work = begin().finally(() => works.delete(key));
    work.catch(() => undefined); // every waiter may have given up
    works.set(key, work);
  }
  return work;
}

async function readManifest(blob: Blob): Promise<Uint8Array> {
  if (blob.size > MAX_MANIFEST_BYTES) {
    throw new WeirError('reference_invalid', `${blob.size} bytes are too many for a manifest`);
  }
  const bytes = new Uint8Array(blob.size);
  let position = 0;
  while (position < bytes.length) position += await blob.read(bytes.subarray(position), position);
  return bytes;
}
