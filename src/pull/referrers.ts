/**
 * Lists of referrers: signatures, SBOMs and attestations of an image. The registry is asked each time. While it cannot be
 * reached, what it said last stands in, marked as stale: otherwise a client that wants a signature refuses an image of
 * which everything is here.
 *
 * A remembered list is for callers who may read the manifest that it is about, as access.ts decides; a caller's token may
 * change with each pull, so lists are not kept by caller. They are in memory alone: a node that starts knows none.
 */
import { LRUCache } from 'lru-cache';
import { KIB, MIB, type Clock } from '../util/clock.ts';
import type { Digest } from '../oci/digest.ts';
import { repositoryKey } from '../oci/repository.ts';
import type { PassedThrough } from '../upstream/passed-through.ts';
import type { Upstream } from '../upstream/upstream.ts';
import { isOffline, type Access, type PullRequest } from './access.ts';

/** Lists that are remembered, each with its filter and page. */
const MAX_LISTS = 4_000;
/** Bytes of all of them; a list is some hundred bytes for each referrer. */
const MAX_BYTES = 16 * MIB;
/** Bytes of one: more than a thousand referrers, and no list takes the place of many. */
const MAX_LIST_BYTES = 512 * KIB;

export interface ReferrersRequest extends PullRequest {
  /** The digest that the list is about. */
  readonly subject: Digest;
  /** Filter and page. */
  readonly query: URLSearchParams;
}

export interface ReferrersAnswer extends PassedThrough {
  /** The registry could not be reached: this is what it said last. */
  readonly stale: boolean;
}

export interface ReferrersOptions {
  readonly upstream: Pick<Upstream, 'passThrough'>;
  readonly access: Access;
  readonly clock: Clock;
  /** Milliseconds for which a list may stand in. */
  readonly offlineTtl: number;
  readonly onStale: (repository: string, subject: Digest, error: unknown) => void;
}

export class Referrers {
  readonly #options: ReferrersOptions;
  readonly #known: LRUCache<string, PassedThrough>;

  constructor(options: ReferrersOptions) {
    this.#options = options;
    this.#known = new LRUCache({
      max: MAX_LISTS,
      maxSize: MAX_BYTES,
      maxEntrySize: MAX_LIST_BYTES,
      sizeCalculation: sizeOf,
      ttl: Math.max(1, options.offlineTtl), // lru-cache takes 0 for "for ever"
      perf: { now: () => options.clock.monotonic() },
    });
  }

  /**
   * The registry's own answer, even that it has no such lists: clients then look for a tag that names the subject.
   * @throws WeirError upstream's refusal, `upstream_*` if upstream could not be asked and nothing may stand in
   */
  async get(request: ReferrersRequest): Promise<ReferrersAnswer> {
    const { upstream, access } = this.#options;
    const { repository, subject, query, caller, signal } = request;
    const key = `${repositoryKey(repository)} ${subject} ${query.toString()}`;
    try {
      const answer = await upstream.passThrough(repository, `referrers/${subject}`, query, {
        caller,
        ...(signal && { signal }),
      });
      // A registry may tell a caller that it does not accept that there is nothing.
      if (access.isAdmitted(request, subject, 'manifest')) {
        // A copy: a short body may be a view of memory that is shared with others, all of which it would keep.
        this.#known.set(key, { ...answer, body: new Uint8Array(answer.body) });
      }
      return { ...answer, stale: false };
    } catch (error) {
      access.failed(request, error);
      if (!isOffline(error)) throw error;
      return { ...this.#recall(request, key, error), stale: true };
    }
  }

  #recall(request: ReferrersRequest, key: string, error: unknown): PassedThrough {
    const { access, onStale } = this.#options;
    const { repository, subject } = request;
    access.offline(request, error);
    const known = access.wasAdmitted(request, subject, 'manifest') ? this.#known.get(key) : undefined;
    if (known === undefined) throw error;
    onStale(repositoryKey(repository), subject, error);
    return known;
  }
}

/** Bytes that an answer takes, with its key. */
function sizeOf({ body, headers, link }: PassedThrough, key: string): number {
  const texts = [key, link ?? '', ...Object.entries(headers).flat()];
  return texts.reduce((sum, text) => sum + text.length, body.length);
}
