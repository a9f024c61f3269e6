/** For chunks that no peer has: which to ask for, of a seed, the chunk's owner, or the next backup owner. */
import { OWNER_RANKS } from './parameters.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import type { ZoneTurns } from './zone-turns.ts';
import type { SwarmState } from './swarm-state.ts';

export interface OwnerChoice {
  readonly index: number;
  /** Undefined: no owner is left to be asked. */
  readonly peer: PeerId | undefined;
  readonly role: 'holder' | 'owner';
}

export class OwnerPicker {
  readonly #state: SwarmState;
  readonly #zones: ZoneTurns;
  /** Per chunk, the rank of the owner to ask next. */
  readonly #ranks: Map<number, number> = new Map();
  /** Per chunk, scheduler's milliseconds of when it may be asked for again. */
  readonly #askAgain: Map<number, number> = new Map();

  constructor(state: SwarmState, zones: ZoneTurns) {
    this.#state = state;
    this.#zones = zones;
  }

  /** When the next chunk may be asked for again; Infinity if none waits. */
  get nextAt(): number {
    let next = Infinity;
    const { now } = this.#state;
    for (const at of this.#askAgain.values()) if (at > now) next = Math.min(next, at);
    return next;
  }

  /**
   * Whether it is this node's turn to ask the chunk's owner, or a seed. If all members of a large cluster did, its owner
   * and backup owners would have a connection to everybody. A few are enough to bring the chunk to peers of all others.
   * On a stall, because those few do not pull the blob or have died, more and more have their turn.
   */
  #hasTurn(index: number): boolean {
    const { now, lastProgress, environment } = this.#state;
    return this.#state.hasTurn(index, environment.parameters.ownerAskers, now - lastProgress);
  }

  /**
   * Of the first `window` chunks that no peer has, those that may be asked for now. A chunk that is on its way from
   * upstream, or was asked for in vain a moment ago, keeps its place in the window. If the next one moved up instead, a
   * large swarm would ask for the whole blob at once. Its first chunk would come as late as its last one.
   */
  candidates(window: number): number[] {
    const { have, layout, now } = this.#state;
    const found: number[] = [];
    let far = 0;
    for (let i = have.firstClear(); i < layout.count && far < window; i = have.firstClear(i + 1)) {
      if (this.#state.isReachable(i)) continue;
      far++;
      if (
        this.#state.isWanted(i) &&
        (this.#askAgain.get(i) ?? 0) <= now &&
        this.#hasTurn(i) &&
        this.#mayCross(i)
      )
        found.push(i);
    }
    return found;
  }

  #mayCross(index: number): boolean {
    const [owner] = this.#state.owners.of(index);
    const { zone } = this.#state.environment.membership.self;
    return owner === undefined || owner.zone === zone || this.#zones.mayCross(index, false);
  }

  /** Which member to ask for the chunk; undefined if this node is its owner. */
  choose(index: number): OwnerChoice | undefined {
    const seed = this.#randomSeed();
    if (seed !== undefined) return { index, peer: seed, role: 'holder' };
    const rank = this.#ranks.get(index) ?? 0;
    const peer = this.#state.ownerOf(index, rank);
    if (peer !== this.#state.self) return { index, peer, role: 'owner' };
    if (this.#state.isLost(index)) this.#state.chunks.doubt(index);
    // If the owners before this node do not answer, it is the arbiter.
    return rank === 0 ? undefined : { index, peer: undefined, role: 'owner' };
  }

  notBefore(index: number, at: number): void {
    this.#askAgain.set(index, at);
  }

  /** This owner did not help. @returns whether another one is left */
  nextRank(index: number): boolean {
    const rank = (this.#ranks.get(index) ?? 0) + 1;
    this.#ranks.set(index, rank);
    return rank < OWNER_RANKS;
  }

  /** The chunk is here, or this node fetches it. */
  settled(index: number): void {
    this.#ranks.delete(index);
    this.#askAgain.delete(index);
  }

  /** Prefers seeds that are connected or being connected: a node that begins to pull has many dials to make. */
  #randomSeed(): PeerId | undefined {
    const { seeds, environment } = this.#state;
    const ready = [...seeds].filter((peer) => !this.#state.isSnubbed(peer));
    const near = ready.filter((peer) => environment.isConnected(peer));
    const from = near.length > 0 ? near : ready;
    return from[Math.floor(environment.scheduler.random() * from.length)];
  }
}
