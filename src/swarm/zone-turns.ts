/**
 * Which chunks this node takes from other zones. Of the members of a zone that pull a blob, one takes a chunk over the border,
 * and the others wait for it: the first in the chunk's order (HRW) among this node and its peers of the same zone. If the chunk
 * does not come, the next one has its turn, and so on.
 */
import { hashText, mix } from '../cluster/hrw.ts';
import type { SwarmState } from './swarm-state.ts';

export class ZoneTurns {
  readonly #state: Pick<SwarmState, 'self' | 'now' | 'owners' | 'peers' | 'environment'>;
  readonly #usual: () => number;
  /** Per chunk, scheduler's milliseconds since when this node could take it from another zone. */
  readonly #since: Map<number, number> = new Map();
  readonly #self: number;
  /** Hashes of the peers of the same zone, and the version of the peers that they are of. */
  #near: readonly number[] = [];
  #version = -1;
  #nextAt = Infinity;

  /** @param usual milliseconds of a transfer; 0 before the first */
  constructor(
    state: Pick<SwarmState, 'self' | 'now' | 'owners' | 'peers' | 'environment'>,
    usual: () => number,
  ) {
    this.#state = state;
    this.#usual = usual;
    this.#self = hashText(state.self);
  }

  /** When the first chunk that {@link mayCross} has refused since the last call may be taken; Infinity if there is none. */
  takeNextAt(): number {
    const next = this.#nextAt;
    this.#nextAt = Infinity;
    return next;
  }

  /** @param isNear whether a peer of the same zone has the chunk, and cannot be asked now */
  mayCross(index: number, isNear: boolean): boolean {
    const rank = this.#rankOf(index) + (isNear ? 1 : 0);
    if (rank === 0) return true;
    const { now } = this.#state;
    const since = this.#since.get(index) ?? now;
    this.#since.set(index, since);
    const at = since + rank * this.#patience;
    if (at <= now) return true;
    this.#nextAt = Math.min(this.#nextAt, at);
    return false;
  }

  get #patience(): number {
    const { zonePatience, zonePatienceFactor } = this.#state.environment.parameters;
    const [least, most] = zonePatience;
    return Math.min(most, Math.max(least, zonePatienceFactor * this.#usual()));
  }

  /** The chunk is here. */
  settled(index: number): void {
    this.#since.delete(index);
  }

  #rankOf(index: number): number {
    this.#refresh();
    const key = this.#state.owners.keyOf(index);
    const own = mix(this.#self ^ key);
    let rank = 0;
    for (const hash of this.#near) if (mix(hash ^ key) > own) rank++;
    return rank;
  }

  #refresh(): void {
    const { peers } = this.#state;
    if (this.#version === peers.version) return;
    this.#version = peers.version;
    this.#near = [...peers.all()].flatMap(({ id, sameZone }) => (sameZone ? hashText(id) : []));
  }
}
