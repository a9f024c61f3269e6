/** Which requests get a second peer: those for the last chunks of a blob, and those much slower than usual. */
import { TRANSFER_TIME_GAIN, HEDGE_SLOW_MIN } from './parameters.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import type { ChunkRequest } from './chunk-request.ts';
import type { SwarmState } from './swarm-state.ts';

export class Hedger {
  readonly #state: SwarmState;
  /** Usual milliseconds of a transfer, smoothed; 0 before the first. */
  #usual = 0;

  constructor(state: SwarmState) {
    this.#state = state;
  }

  /** Usual milliseconds of a transfer; 0 before the first. */
  get usual(): number {
    return this.#usual;
  }

  /** A transfer took so many milliseconds. */
  observe(took: number): void {
    this.#usual = this.#usual === 0 ? took : this.#usual + TRANSFER_TIME_GAIN * (took - this.#usual);
  }

  /** A second peer to ask, for each request that is late. */
  *late(
    chunkRequests: ReadonlySet<ChunkRequest>,
  ): Generator<{ readonly index: number; readonly peer: PeerId }> {
    const { environment, peers, now, have, layout, inFlight } = this.#state;
    const { parameters, scheduler } = environment;
    const isEndgame = have.count + chunkRequests.size >= layout.count;
    const limit = isEndgame
      ? Math.max(parameters.hedgeMin, this.#usual * parameters.hedgeFactorEndgame)
      : Math.max(HEDGE_SLOW_MIN, this.#usual * parameters.hedgeFactor);
    const [oldest] = chunkRequests; // oldest first
    if (oldest === undefined || now - oldest.startedAt < limit) return;
    for (const { role, index, startedAt, peer } of Array.from(chunkRequests)) {
      if (role === 'owner' || (inFlight[index] ?? 0) > 1 || now - startedAt < limit) continue;
      const other = peers.best(index, now, () => scheduler.random(), peer);
      if (other !== undefined) yield { index, peer: other.id };
    }
  }
}
