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
  /** Scheduler's milliseconds until which no owner is asked for anything. */
  #restUntil = 0;

  constructor(state: SwarmState, zones: ZoneTurns) {
    this.#state = state;
    this.#zones = zones;
  }

  /** When the next chunk may be asked for again; Infinity if none waits. */
  get nextAt(): number {
    let next = Infinity;
    const { now } = this.#state;
    for (const at of this.#askAgain.values()) if (at > now) next = Math.min(next, at);
    return next === Infinity || this.#restUntil <= now ? next : Math.max(next, this.#restUntil);
  }

  /**
   * Whether it is this node's turn to ask the chunk's owner, or a seed. In a large cluster each chunk has its own few
   * members that ask: if all did, its owner and backup owners would have a connection to everybody. A few are enough to
   * bring the chunk to peers of all others. On a stall, because those few do not pull the blob or have died, more and
   * more have their turn.
   */
  #hasTurn(index: number): boolean {
    const { owners, self, now, lastProgress, environment, peers } = this.#state;
    const { ownerAskers, ownerPatience, peersWanted } = environment.parameters;
    // One of the first members was named few peers, and has many now.
    const isPopular = peers.size >= 2 * peersWanted;
    // The very first member was named no peers, and will be sent some in a moment.
    const isUnknown = this.#state.swarmSize === 0;
    const swarmSize = isPopular || isUnknown ? environment.membership.live().length : this.#state.swarmSize;
    if (swarmSize <= ownerAskers) return true;
    const before = swarmSize * owners.shareBefore(index, self);
    return before < ownerAskers * 2 ** ((now - lastProgress) / ownerPatience);
  }

  /**
   * Of the first `window` chunks that no peer has, those that may be asked for now. A chunk that is on its way from
   * upstream, or was asked for in vain a moment ago, keeps its place in the window. If the next one moved up instead, a
   * large swarm would ask for the whole blob at once. Its first chunk would come as late as its last one.
   */
  candidates(window: number): number[] {
    const { have, layout, now } = this.#state;
    if (now < this.#restUntil) return [];
    const found: number[] = [];
    let far = 0;
    for (let i = have.firstClear(); i < layout.count && far < window; i = have.firstClear(i + 1)) {
      if (this.#state.isReachable(i)) continue;
      far++;
      const isWanted = this.#state.isWanted(i) && !this.#state.isClaimed(i);
      if (isWanted && (this.#askAgain.get(i) ?? 0) <= now && this.#hasTurn(i) && this.#mayCross(i))
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
    const { owners, self } = this.#state;
    const seed = this.#randomSeed();
    if (seed !== undefined) return { index, peer: seed, role: 'holder' };
    const left = owners.of(index).slice(this.#ranks.get(index) ?? 0);
    // An owner that acknowledges nothing would hold up each of its chunks.
    const owner = left.find(({ peer }) => !this.#state.isSnubbed(peer)) ?? left[0];
    return owner?.peer === self ? undefined : { index, peer: owner?.peer, role: 'owner' };
  }

  notBefore(index: number, at: number): void {
    this.#askAgain.set(index, at);
  }

  /** An owner is overloaded, and so are the others then: asking them all would open connections to all members. */
  rest(until: number): void {
    this.#restUntil = until;
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
