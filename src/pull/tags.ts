/**
 * Resolves tags. Upstream is asked with HEAD, at most once in a few seconds; with several members, the tag's owners
 * ask for all. While upstream cannot be reached, the digest that it named last is used, marked as stale.
 */
import { LRUCache } from 'lru-cache';
import { abortable, shared } from '../util/async.ts';
import { SECOND, type Clock } from '../util/clock.ts';
import { isWeirError, WeirError } from '../util/errors.ts';
import { acceptedTypes, isAccepted } from '../oci/manifest-type.ts';
import { digestOf } from '../oci/digest.ts';
import type { Tag } from '../oci/reference.ts';
import { repositoryKey } from '../oci/repository.ts';
import type { Catalog, TagRecord } from '../store/catalog.ts';
import { isOfThisNode } from '../upstream/caller.ts';
import { isOffline, type Access } from './access.ts';
import type { TagOwners, SharedReference } from './tag-owners.ts';

/** Answers about tags that are remembered for a few seconds. */
const MAX_RECENT_TAGS = 10_000;
/**
 * Callers of a repository that upstream has just refused, and milliseconds for which that holds. Owners do not report
 * refusals, and a crowd of members must not ask upstream one by one.
 */
const MAX_REFUSED = 1_000;
const REFUSED_FOR = 5 * SECOND;

export interface TagRequest extends SharedReference {
  readonly reference: { readonly kind: 'tag'; readonly tag: Tag };
}

export interface ResolvedTag {
  readonly record: TagRecord;
  /** Upstream could not be reached: this is the digest that the tag had last. */
  readonly stale: boolean;
}

export interface TagsOptions {
  readonly catalog: Catalog;
  readonly access: Access;
  readonly clock: Clock;
  /** Milliseconds for which an answer about a tag holds. */
  readonly ttl: number;
  /** Asks upstream. */
  readonly head: (request: TagRequest) => Promise<Omit<TagRecord, 'at'>>;
  /** Undefined if each node asks upstream for itself. */
  readonly tagOwners: (() => TagOwners | undefined) | undefined;
  readonly onStale: (repository: string, tag: string, error: unknown) => void;
}

/** The keys under which a tag is remembered. */
interface TagKeys {
  readonly types: readonly string[];
  readonly accept: string;
  readonly caller: string;
  /** The caller in this repository, whatever the tag. */
  readonly access: string;
}

export class Tags {
  readonly #options: TagsOptions;
  readonly #recent: LRUCache<string, TagRecord>;
  readonly #refused: LRUCache<string, WeirError>;
  readonly #resolving: Map<string, Promise<ResolvedTag>> = new Map();
  /** Requests to upstream: this node's own callers and those of other members share one. */
  readonly #asking: Map<string, Promise<Omit<TagRecord, 'at'>>> = new Map();

  constructor(options: TagsOptions) {
    this.#options = options;
    const perf = { now: (): number => options.clock.monotonic() };
    // lru-cache takes a ttl of 0 for "for ever".
    this.#recent = new LRUCache({ max: MAX_RECENT_TAGS, ttl: Math.max(1, options.ttl), perf });
    this.#refused = new LRUCache({ max: MAX_REFUSED, ttl: REFUSED_FOR, perf });
  }

  /**
   * @param own whether this node must ask upstream itself, because another member relies on it
   * @throws WeirError upstream's answer to this caller, `upstream_*` if upstream could not be asked
   */
  async resolve(request: TagRequest, own = false): Promise<ResolvedTag> {
    const keys = this.#keys(request);
    const recent = this.#recent.get(keys.caller);
    if (recent !== undefined) return { record: recent, stale: false };
    const { signal, ...work } = request; // the first caller may leave, and others wait for the same
    const ask = (): Promise<ResolvedTag> => this.#ask(work, keys, own);
    const resolving = shared(this.#resolving, `${keys.caller} ${own}`, ask);
    try {
      return await abortable(resolving, signal);
    } catch (error) {
      if (!isOffline(error)) throw error;
      return { record: await this.#stale(request, keys, own, error), stale: true };
    }
  }

  /** Upstream is asked with other credentials from now on. */
  forgetRefusals(): void {
    this.#refused.clear();
  }

  /** The remembered record of the tag, for a caller that upstream accepted lately. */
  known(request: TagRequest): TagRecord | undefined {
    const { access } = this.#options;
    const keys = this.#keys(request);
    return access.holdsOffline(request) ? this.#remembered(request, keys) : undefined;
  }

  #keys({ repository, reference, accept, caller: asker }: TagRequest): TagKeys {
    const types = acceptedTypes(accept);
    const acceptKey = digestOf(Buffer.from(types.join(' ')));
    const name = repositoryKey(repository);
    const callerKey = this.#options.access.callerKey(asker, repository);
    const caller = `${name} ${reference.tag} ${acceptKey} ${callerKey}`;
    return { types, accept: acceptKey, caller, access: `${name} ${callerKey}` };
  }

  async #ask(request: TagRequest, keys: TagKeys, own: boolean): Promise<ResolvedTag> {
    const { access, catalog, clock, tagOwners, onStale } = this.#options;
    const { tag } = request.reference;
    const refused = this.#refused.get(keys.access);
    if (refused !== undefined) throw refused;
    try {
      const answer = own ? undefined : await tagOwners?.()?.ask(request);
      const known = answer ?? (await this.#headOnce(request, keys));
      const record = { ...recordOf(known), at: clock.now() };
      access.acceptedAgo(request, answer?.granted ?? 0);
      this.#keep(request, keys, record);
      if (answer?.stale === true)
        onStale(
          repositoryKey(request.repository),
          tag,
          new WeirError('upstream_unreachable', 'a member says so'),
        );
      // What a member says may be as old as `tags.ttl` there: kept here for as long again, a moved tag would be seen too late.
      else if (answer === undefined) this.#recent.set(keys.caller, record);
      return { record, stale: answer?.stale === true };
    } catch (error) {
      access.failed(request, error);
      if (isWeirError(error, 'upstream_unauthorized', 'upstream_denied'))
        this.#refused.set(keys.access, error);
      if (isWeirError(error, 'manifest_unknown') && access.tellsOfAbsence(request))
        catalog.deleteTag(request.repository, tag);
      throw error;
    }
  }

  async #headOnce(request: TagRequest, { caller }: TagKeys): Promise<Omit<TagRecord, 'at'>> {
    const { head } = this.#options;
    try {
      return await shared(this.#asking, caller, () => head(request));
    } catch (error) {
      // The shared request was for another member, for which this node may not go to every address.
      if (isOfThisNode(request.caller) && isWeirError(error, 'address_refused')) return await head(request);
      throw error;
    }
  }

  async #stale(request: TagRequest, keys: TagKeys, own: boolean, error: unknown): Promise<TagRecord> {
    const { access, clock, tagOwners, onStale } = this.#options;
    const { tag } = request.reference;
    let record = access.holds(request, error) ? this.#remembered(request, keys) : undefined;
    if (record === undefined && !own) {
      const answer = await tagOwners?.()?.recall(request);
      if (answer !== undefined) {
        record = { ...recordOf(answer), at: clock.now() };
        access.acceptedAgo(request, answer.granted);
        this.#keep(request, keys, record);
      }
    }
    access.offline(request, error);
    if (record === undefined) throw error;
    onStale(repositoryKey(request.repository), tag, error);
    return record;
  }

  #keep({ repository, reference }: TagRequest, keys: TagKeys, record: TagRecord): void {
    const { access, catalog } = this.#options;
    const { digest, size } = record;
    catalog.setTag(repository, reference.tag, keys.accept, record);
    if (size !== undefined) access.listed(repository, 'manifest', [{ digest, size }]);
  }

  /** The record for the same Accept, else the newest one whose media type this caller accepts. */
  #remembered({ repository, reference }: TagRequest, { accept, types }: TagKeys): TagRecord | undefined {
    const known = this.#options.catalog.tags(repository, reference.tag);
    return (
      known.find((record) => record.accept === accept) ??
      known.find(({ mediaType }) => isAccepted(types, mediaType))
    );
  }
}

function recordOf({ digest, mediaType, size }: Omit<TagRecord, 'at'>): Omit<TagRecord, 'at'> {
  return { digest, mediaType, size };
}
