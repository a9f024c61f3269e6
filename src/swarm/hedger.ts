/** Which requests are worth a second peer: the last chunks of a blob, and what takes much longer than usual. */
import { SECOND } from '../util/clock.ts';
import type { PeerName } from '../protocol/peer-id.ts';
import type { Asking } from './chunk-request.ts';
import type { SwarmState } from './swarm-state.ts';

/** Weight of the newest transfer in the usual time of one. */
const SMOOTHING = 0.2;
/** Milliseconds after which an unfinished transfer may be called slow at all: below that it is noise. */
const LEAST_SLOW: number = 1 * SECOND;

export class Hedging {
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
    this.#usual = this.#usual === 0 ? took : this.#usual + SMOOTHING * (took - this.#usual);
  }

  /** Whom to ask besides, for each request that is late. */
  *late(askings: ReadonlySet<Asking>): Generator<{ readonly index: number; readonly peer: PeerName }> {
    const { environment, neighbours, now, here, layout, arriving } = this.#state;
    const { parameters, scheduler } = environment;
    const isEndgame = here.count + askings.size >= layout.count;
    const limit = isEndgame
      ? Math.max(parameters.hedge, this.#usual * parameters.late)
      : Math.max(LEAST_SLOW, this.#usual * parameters.slow);
    const [oldest] = askings; // they are in the order of their beginnings
    if (oldest === undefined || now - oldest.startedAt < limit) return;
    for (const { role, index, startedAt, peer } of Array.from(askings)) {
      if (role === 'home' || (arriving[index] ?? 0) > 1 || now - startedAt < limit) continue;
      const other = neighbours.best(index, now, () => scheduler.random(), peer);
      if (other !== undefined) yield { index, peer: other.peer };
    }
  }
}
