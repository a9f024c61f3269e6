/**
 * The one rule for slow sources: a request that takes longer than its limit is asked of a second source, and the first
 * answer counts. The limit follows what is usual (rtt-estimator.ts).
 */
import { MIB } from '../util/clock.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import type { ChunkRequest, Role } from './chunk-request.ts';
import { RttEstimator } from './rtt-estimator.ts';
import type { SwarmState } from './swarm-state.ts';

export interface SecondSource {
  readonly request: ChunkRequest;
  readonly peer: PeerId;
  readonly role: Role;
}

export class Hedger {
  readonly #state: SwarmState;
  /** Of chunks that peers had. */
  readonly #transfers: RttEstimator;
  /** Of all chunks, also of those that an owner had to fetch first. */
  readonly #all: RttEstimator = new RttEstimator(0, 0, 0);

  constructor(state: SwarmState) {
    this.#state = state;
    this.#transfers = new RttEstimator(...state.environment.parameters.hedgeAfter);
  }

  /** Usual milliseconds of a request for a chunk; 0 before the first. */
  get usual(): number {
    return this.#all.usual;
  }

  /** A request for a chunk took so many milliseconds. */
  observe(took: number, role: Role): void {
    this.#all.observe(took);
    if (role === 'holder') this.#transfers.observe(took);
  }

  /** A second source for each request that is late. */
  *late(chunkRequests: ReadonlySet<ChunkRequest>): Generator<SecondSource> {
    const { environment, peers, now, chunks } = this.#state;
    const { limit } = this.#transfers;
    for (const request of Array.from(chunkRequests)) {
      const { role, index, hedgedAt, peer } = request;
      if (chunks.requests(index) > 1 || now - hedgedAt < limit) continue;
      const other = peers.best(index, now, () => environment.scheduler.random(), peer);
      if (other !== undefined) yield { request, peer: other.id, role: 'holder' };
      else if (role === 'owner' && this.isLate(index, hedgedAt)) {
        const next = this.#state.ownerAfter(index, peer);
        if (next !== undefined) yield { request, peer: next, role };
      }
    }
  }

  /**
   * Whether a chunk that was asked for then, and is fetched from upstream, takes too long: longer than this node's own
   * fetches and a transfer.
   */
  isLate(index: number, since: number): boolean {
    const { environment, layout, now } = this.#state;
    const fetch = (environment.rtt.upstream.limit * layout.length(index)) / MIB;
    return now - since >= fetch + this.#transfers.limit;
  }
}
