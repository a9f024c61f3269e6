/**
 * Finds members that have a blob in the DHT, for blobs that have no swarm at present.
 *
 * All callers that ask for one digest share one search. Each waits until its own deadline and gets the members found
 * by then. An empty answer says nothing about the blob.
 */
import { SECOND, type Clock } from '../util/clock.ts';
import type { Digest } from '../oci/digest.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import { cidOf, ENOUGH_HOLDERS, type ContentRouting } from './content-routing.ts';

/** Searches under way; further ones find nothing, because each costs every node that it asks some milliseconds. */
const MAX_SEARCHES = 16;
/** A search that nobody waits for goes on for the next caller, but no longer than this. */
const SEARCH_TIMEOUT = 5 * SECOND;
/** How long a result is valid. An empty one is valid for less time: a member may have the blob a moment later. */
const FRESH = 30 * SECOND;
const FRESH_NOTHING = 5 * SECOND;
/** Searches whose results are remembered. */
const MAX_REMEMBERED = 1000;

export interface FindOptions {
  readonly signal: AbortSignal;
  /** Milliseconds that the caller will wait. */
  readonly deadline: number;
}

export interface ProviderSearchOptions {
  readonly routing: ContentRouting;
  readonly clock: Clock;
  readonly onProblem: (error: unknown) => void;
}

interface Search {
  readonly peers: Set<PeerId>;
  readonly ended: Promise<void>;
  isRunning: boolean;
  /** On the monotonic clock. */
  readonly begun: number;
}

export class ProviderSearch implements AsyncDisposable {
  readonly #options: ProviderSearchOptions;
  readonly #searches: Map<Digest, Search> = new Map();
  readonly #stop: AbortController = new AbortController();
  #running = 0;

  constructor(options: ProviderSearchOptions) {
    this.#options = options;
  }

  /**
   * Members that announced the blob: those found before the deadline, or as many as are enough.
   * @throws the signal's reason
   */
  async find(digest: Digest, { signal, deadline }: FindOptions): Promise<readonly PeerId[]> {
    signal.throwIfAborted();
    const search = this.#search(digest);
    if (search === undefined) return [];
    if (search.isRunning) await this.#wait(search.ended, deadline, signal);
    return [...search.peers];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await Promise.all([...this.#searches.values()].map(({ ended }) => ended));
  }

  /** The search for this digest that is under way or still valid; undefined if too many are under way. */
  #search(digest: Digest): Search | undefined {
    const known = this.#searches.get(digest);
    if (known !== undefined && this.#isFresh(known)) return known;
    if (this.#running >= MAX_SEARCHES || this.#stop.signal.aborted) return undefined;
    const peers = new Set<PeerId>();
    const search: Search = {
      peers,
      isRunning: true,
      begun: this.#options.clock.monotonic(),
      ended: this.#run(digest, peers).finally(() => (search.isRunning = false)),
    };
    this.#searches.delete(digest);
    this.#searches.set(digest, search);
    this.#forgetOldest();
    return search;
  }

  #isFresh({ begun, isRunning, peers }: Search): boolean {
    const age = this.#options.clock.monotonic() - begun;
    return isRunning || age < (peers.size > 0 ? FRESH : FRESH_NOTHING);
  }

  /** Never throws. */
  async #run(digest: Digest, peers: Set<PeerId>): Promise<void> {
    const { routing, onProblem } = this.#options;
    const limit = AbortSignal.timeout(SEARCH_TIMEOUT);
    this.#running += 1;
    try {
      const signal = AbortSignal.any([this.#stop.signal, limit]);
      for await (const peer of routing.find(cidOf(digest), { signal })) {
        peers.add(peer);
        if (peers.size >= ENOUGH_HOLDERS) return;
      }
    } catch (error) {
      if (!limit.aborted && !this.#stop.signal.aborted) onProblem(error);
    } finally {
      this.#running -= 1;
    }
  }

  async #wait(ended: Promise<void>, deadline: number, signal: AbortSignal): Promise<void> {
    const over = new AbortController();
    const sleep = this.#options.clock.sleep(deadline, { signal: AbortSignal.any([signal, over.signal]) });
    try {
      await Promise.race([ended, sleep]);
    } finally {
      over.abort();
    }
  }

  #forgetOldest(): void {
    for (const [digest, { isRunning }] of this.#searches) {
      if (this.#searches.size <= MAX_REMEMBERED) return;
      if (!isRunning) this.#searches.delete(digest);
    }
  }
}
