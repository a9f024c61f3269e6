/** Which chunk to ask whom for, of those that nobody near has: a seed, or the chunk's home, or the next one in rank. */
import { OWNER_RANKS } from './parameters.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import type { SwarmState } from './swarm-state.ts';

export interface OwnerChoice {
  readonly index: number;
  /** Undefined: no home is left to be asked. */
  readonly peer: PeerId | undefined;
  readonly role: 'holder' | 'owner';
}

export class OwnerPicker {
  readonly #state: SwarmState;
  /** Per chunk, the rank of the home to ask next. */
  readonly #ranks: Map<number, number> = new Map();
  /** Per chunk, scheduler's milliseconds of when it may be asked for again. */
  readonly #askAgain: Map<number, number> = new Map();
  /** Scheduler's milliseconds until which no home is asked for anything. */
  #restUntil = 0;

  constructor(state: SwarmState) {
    this.#state = state;
  }

  /** When the next chunk may be asked for again; Infinity where none waits. */
  get nextAt(): number {
    let next = Infinity;
    const { now } = this.#state;
    for (const at of this.#askAgain.values()) if (at > now) next = Math.min(next, at);
    return next === Infinity || this.#restUntil <= now ? next : Math.max(next, this.#restUntil);
  }

  /**
   * Whether it is this node's turn to ask the chunk's home, or a seed. In a large cluster each chunk has its own few
   * that ask: if all did, its home would have a connection to everybody, and so would the one that stands in for it.
   * A few are enough to bring a chunk among the neighbours of all the others. Where nothing moves, because those few
   * do not pull the blob, or have died, more and more have their turn.
   */
  #hasTurn(index: number): boolean {
    const { owners, self, now, lastProgress, environment, peers } = this.#state;
    const { ownerAskers, ownerPatience, peersWanted } = environment.parameters;
    // Who was among the first was told of few, and is a neighbour of many now.
    const isPopular = peers.size >= 2 * peersWanted;
    // Who was the very first was told of nobody, and will be told again in a moment.
    const isUnknown = this.#state.swarmSize === 0;
    const swarmSize = isPopular || isUnknown ? environment.membership.live().length : this.#state.swarmSize;
    if (swarmSize <= ownerAskers) return true;
    const before = swarmSize * owners.shareBefore(index, self);
    return before < ownerAskers * 2 ** ((now - lastProgress) / ownerPatience);
  }

  /**
   * Those of the first `window` chunks that nobody near has which may be asked for now. What is on its way from the
   * registry, or was asked for in vain a moment ago, keeps its place in the window: if the next one moved up for it,
   * a large swarm would ask for all of the blob at once, and its first chunk would come as late as its last one.
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
      if (isWanted && (this.#askAgain.get(i) ?? 0) <= now && this.#hasTurn(i)) found.push(i);
    }
    return found;
  }

  /** Whom to ask for the chunk; undefined where this node is its home. */
  choose(index: number): OwnerChoice | undefined {
    const { owners, self } = this.#state;
    const seed = this.#randomSeed();
    if (seed !== undefined) return { index, peer: seed, role: 'holder' };
    const left = owners.of(index).slice(this.#ranks.get(index) ?? 0);
    // One that acknowledges nothing would hold up each chunk of which it is the home.
    const owner = left.find(({ peer }) => !this.#state.isSnubbed(peer)) ?? left[0];
    return owner?.peer === self ? undefined : { index, peer: owner?.peer, role: 'owner' };
  }

  notBefore(index: number, at: number): void {
    this.#askAgain.set(index, at);
  }

  /** A home has its hands full, and so have the others then: whoever asked them all at once would meet all members. */
  rest(until: number): void {
    this.#restUntil = until;
  }

  /** This home will not do. @returns whether another one is left */
  nextRank(index: number): boolean {
    const rank = (this.#ranks.get(index) ?? 0) + 1;
    this.#ranks.set(index, rank);
    return rank < OWNER_RANKS;
  }

  /** The chunk is here, or this node sees to it. */
  settled(index: number): void {
    this.#ranks.delete(index);
    this.#askAgain.delete(index);
  }

  /** One to whom there is a connection, or will be in a moment: a node that begins to pull has enough to make. */
  #randomSeed(): PeerId | undefined {
    const { seeds, environment } = this.#state;
    const ready = [...seeds].filter((peer) => !this.#state.isSnubbed(peer));
    const near = ready.filter((peer) => environment.isConnected(peer));
    const from = near.length > 0 ? near : ready;
    return from[Math.floor(environment.scheduler.random() * from.length)];
  }
}
