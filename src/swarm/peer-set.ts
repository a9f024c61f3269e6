/** The neighbours of one node in one swarm: what each has, how busy it is, and how many have each chunk. */
import type { PeerName } from '../protocol/peer-id.ts';
import type { Bitfield } from '../protocol/bitfield.ts';
import { Holders, Seats } from './availability.ts';

export interface Neighbour {
  readonly peer: PeerName;
  readonly sameZone: boolean;
  /** Its place in the tables of {@link Neighbours}, as long as it is one. */
  readonly seat: number;
  /** What it said last about its load. */
  load: number;
  /** Requests of ours that it has in hand. */
  outstanding: number;
}

/** A neighbour of another zone counts as if it were that much busier. */
const OTHER_ZONE = 2;

export class Neighbours {
  readonly #chunks: number;
  readonly #known: Map<PeerName, Neighbour> = new Map();
  readonly #seats: (Neighbour | undefined)[] = [];
  /** By seat, scheduler's milliseconds until which nothing is asked of it. */
  readonly #busyUntil: number[] = [];
  readonly #holders: Holders;
  #gains = 0;

  constructor(chunks: number) {
    this.#chunks = chunks;
    this.#holders = new Holders(chunks);
  }

  get size(): number {
    return this.#known.size;
  }

  get sameZone(): number {
    let count = 0;
    for (const { sameZone } of this.#known.values()) if (sameZone) count++;
    return count;
  }

  /** How often there was more to be had from somebody, or sooner: until then, nobody can give what nobody could. */
  get gains(): number {
    return this.#gains;
  }

  get(peer: PeerName): Neighbour | undefined {
    return this.#known.get(peer);
  }

  all(): Iterable<Neighbour> {
    return this.#known.values();
  }

  /** How many have the chunk. */
  holders(index: number): number {
    return this.#holders.count(index);
  }

  /** Whether one has the chunk; `among`: of those. */
  isHeld(index: number, among?: Seats): boolean {
    return this.#holders.isHeld(index, among);
  }

  has({ seat }: Neighbour, index: number): boolean {
    return this.#holders.has(index, seat);
  }

  /** Adds a neighbour, or takes over its whole bitfield again. */
  link(peer: PeerName, have: Bitfield, sameZone: boolean): Neighbour {
    const before = this.#known.get(peer);
    if (before !== undefined) this.#clear(before);
    const { load, outstanding, seat } = before ?? { load: 0, outstanding: 0, seat: this.#freeSeat() };
    const neighbour = { peer, sameZone, seat, load, outstanding };
    this.#known.set(peer, neighbour);
    this.#seats[seat] = neighbour;
    for (let i = have.firstSet(); i < this.#chunks; i = have.firstSet(i + 1)) this.#holders.set(i, seat);
    this.#gains++;
    return neighbour;
  }

  /** It has one more chunk. */
  add({ seat }: Neighbour, index: number): void {
    if (index >= this.#chunks || this.#holders.has(index, seat)) return;
    this.#holders.set(index, seat);
    this.#gains++;
  }

  /** @returns the chunks that it had */
  unlink(peer: PeerName): readonly number[] {
    const neighbour = this.#known.get(peer);
    if (neighbour === undefined) return [];
    this.#known.delete(peer);
    this.#seats[neighbour.seat] = undefined;
    this.#busyUntil[neighbour.seat] = 0;
    return this.#clear(neighbour);
  }

  /** Nothing is asked of it until then, in scheduler's milliseconds. */
  rest({ seat }: Neighbour, until: number): void {
    if (until < (this.#busyUntil[seat] ?? 0)) this.#gains++;
    this.#busyUntil[seat] = until;
  }

  isFree({ seat }: Neighbour, now: number): boolean {
    return (this.#busyUntil[seat] ?? 0) <= now;
  }

  /** The seats of those that can be asked for something. */
  free(now: number): Seats {
    const free = new Seats();
    for (let seat = 0; seat < this.#busyUntil.length; seat++) {
      if ((this.#busyUntil[seat] ?? 0) <= now) free.add(seat);
    }
    return free;
  }

  /** Scheduler's milliseconds of when the next one that rests can be asked again; Infinity where none does. */
  nextFree(now: number): number {
    let next = Infinity;
    for (const until of this.#busyUntil) if (until > now && until < next) next = until;
    return next;
  }

  /** Those who have the chunk. */
  holdersOf(index: number): readonly PeerName[] {
    const holders: PeerName[] = [];
    for (const [peer, { seat }] of this.#known) if (this.#holders.has(index, seat)) holders.push(peer);
    return holders;
  }

  /**
   * The least loaded neighbour that has the chunk and is not busy; ties at random. Undefined where all who have it
   * are busy.
   */
  best(index: number, now: number, random: () => number, except?: PeerName): Neighbour | undefined {
    let best: Neighbour | undefined;
    let bestScore = Infinity;
    let ties = 0;
    for (let seat = 0; seat < this.#seats.length; seat++) {
      if (!this.#holders.has(index, seat) || (this.#busyUntil[seat] ?? 0) > now) continue;
      const neighbour = this.#seats[seat];
      if (neighbour === undefined || neighbour.peer === except) continue;
      const score = (1 + neighbour.load + neighbour.outstanding) * (neighbour.sameZone ? 1 : OTHER_ZONE);
      if (score > bestScore) continue;
      ties = score < bestScore ? 1 : ties + 1;
      if (score === bestScore && random() * ties >= 1) continue;
      best = neighbour;
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

  #clear({ seat }: Neighbour): readonly number[] {
    const had: number[] = [];
    for (let index = 0; index < this.#chunks; index++) {
      if (!this.#holders.has(index, seat)) continue;
      this.#holders.clear(index, seat);
      had.push(index);
    }
    return had;
  }
}
