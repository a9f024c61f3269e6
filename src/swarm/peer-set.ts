/** The peers of one node in one swarm: what each has, how busy it is, and how many have each chunk. */
import { OTHER_ZONE_LOAD_FACTOR } from './parameters.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import type { Bitfield } from '../protocol/bitfield.ts';
import { Availability, Seats } from './availability.ts';

export interface SwarmPeer {
  readonly id: PeerId;
  readonly sameZone: boolean;
  /** Its place in the tables of {@link PeerSet}. */
  readonly seat: number;
  /** The load that it told last. */
  load: number;
  /** Requests of this node that are under way at it. */
  outstanding: number;
}

export class PeerSet {
  readonly #chunks: number;
  readonly #known: Map<PeerId, SwarmPeer> = new Map();
  readonly #seats: (SwarmPeer | undefined)[] = [];
  /** By seat, scheduler's milliseconds until which the peer is not asked. */
  readonly #busyUntil: number[] = [];
  readonly #holders: Availability;
  #gains = 0;
  #version = 0;

  constructor(chunks: number) {
    this.#chunks = chunks;
    this.#holders = new Availability(chunks);
  }

  get size(): number {
    return this.#known.size;
  }

  get sameZone(): number {
    let count = 0;
    for (const { sameZone } of this.#known.values()) if (sameZone) count++;
    return count;
  }

  /** Counts how often peers could give more, or sooner: while it stands, a search that found nothing finds nothing. */
  get gains(): number {
    return this.#gains;
  }

  /** Counts how often peers came and went. */
  get version(): number {
    return this.#version;
  }

  get(peer: PeerId): SwarmPeer | undefined {
    return this.#known.get(peer);
  }

  all(): Iterable<SwarmPeer> {
    return this.#known.values();
  }

  /** How many peers have the chunk. */
  holders(index: number): number {
    return this.#holders.count(index);
  }

  /** Whether a peer has the chunk; `among`: one of those seats. */
  isHeld(index: number, among?: Seats): boolean {
    return this.#holders.isHeld(index, among);
  }

  has({ seat }: SwarmPeer, index: number): boolean {
    return this.#holders.has(index, seat);
  }

  /** Adds a peer, or replaces its whole bitfield. */
  put(peer: PeerId, have: Bitfield, sameZone: boolean): SwarmPeer {
    const before = this.#known.get(peer);
    if (before !== undefined) this.#clear(before);
    else this.#version++;
    const { load, outstanding, seat } = before ?? { load: 0, outstanding: 0, seat: this.#freeSeat() };
    const swarmPeer = { id: peer, sameZone, seat, load, outstanding };
    this.#known.set(peer, swarmPeer);
    this.#seats[seat] = swarmPeer;
    for (let i = have.firstSet(); i < this.#chunks; i = have.firstSet(i + 1)) this.#holders.set(i, seat);
    this.#gains++;
    return swarmPeer;
  }

  /** It has one more chunk. */
  gained({ seat }: SwarmPeer, index: number): void {
    if (index >= this.#chunks || this.#holders.has(index, seat)) return;
    this.#holders.set(index, seat);
    this.#gains++;
  }

  /** @returns the chunks that it had */
  remove(peer: PeerId): readonly number[] {
    const swarmPeer = this.#known.get(peer);
    if (swarmPeer === undefined) return [];
    this.#known.delete(peer);
    this.#version++;
    this.#seats[swarmPeer.seat] = undefined;
    this.#busyUntil[swarmPeer.seat] = 0;
    return this.#clear(swarmPeer);
  }

  /** The peer is not asked until then, in scheduler's milliseconds. */
  rest({ seat }: SwarmPeer, until: number): void {
    if (until < (this.#busyUntil[seat] ?? 0)) this.#gains++;
    this.#busyUntil[seat] = until;
  }

  isFree({ seat }: SwarmPeer, now: number): boolean {
    return (this.#busyUntil[seat] ?? 0) <= now;
  }

  /** The seats of the peers that can be asked now: all of them, and those of the same zone. */
  free(now: number): { readonly all: Seats; readonly near: Seats } {
    const free = { all: new Seats(), near: new Seats() };
    for (let seat = 0; seat < this.#busyUntil.length; seat++) {
      if ((this.#busyUntil[seat] ?? 0) > now) continue;
      free.all.add(seat);
      if (this.#seats[seat]?.sameZone === true) free.near.add(seat);
    }
    return free;
  }

  /** Whether a peer of the same zone has the chunk. */
  isHeldNear(index: number): boolean {
    return this.#seats.some((peer) => peer?.sameZone === true && this.#holders.has(index, peer.seat));
  }

  /** Scheduler's milliseconds of when the next resting peer can be asked again; Infinity if none rests. */
  nextFree(now: number): number {
    let next = Infinity;
    for (const until of this.#busyUntil) if (until > now && until < next) next = until;
    return next;
  }

  /** The peers that have the chunk. */
  holdersOf(index: number): readonly PeerId[] {
    const holders: PeerId[] = [];
    for (const [peer, { seat }] of this.#known) if (this.#holders.has(index, seat)) holders.push(peer);
    return holders;
  }

  /**
   * The least loaded peer that has the chunk and is not busy; ties at random. Undefined if all that have it are busy.
   */
  best(index: number, now: number, random: () => number, except?: PeerId): SwarmPeer | undefined {
    let best: SwarmPeer | undefined;
    let bestScore = Infinity;
    let ties = 0;
    for (let seat = 0; seat < this.#seats.length; seat++) {
      if (!this.#holders.has(index, seat) || (this.#busyUntil[seat] ?? 0) > now) continue;
      const swarmPeer = this.#seats[seat];
      if (swarmPeer === undefined || swarmPeer.id === except) continue;
      const score =
        (1 + swarmPeer.load + swarmPeer.outstanding) * (swarmPeer.sameZone ? 1 : OTHER_ZONE_LOAD_FACTOR);
      if (score > bestScore) continue;
      ties = score < bestScore ? 1 : ties + 1;
      if (score === bestScore && random() * ties >= 1) continue;
      best = swarmPeer;
      bestScore = score;
    }
    return best;
  }

  #freeSeat(): number {
    const empty = this.#seats.indexOf(undefined);
    const seat = empty < 0 ? this.#seats.length : empty;
    this.#busyUntil[seat] = 0;
    return seat;
  }

  #clear({ seat }: SwarmPeer): readonly number[] {
    const had: number[] = [];
    for (let index = 0; index < this.#chunks; index++) {
      if (!this.#holders.has(index, seat)) continue;
      this.#holders.clear(index, seat);
      had.push(index);
    }
    return had;
  }
}
