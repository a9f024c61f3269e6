/** The neighbours of one node in one swarm: what each has, how busy it is, and how many have each chunk. */
import type { PeerName } from '../peer/peer-name.ts';
import type { Bitfield } from '../store/bitfield.ts';

export interface Neighbour {
  readonly peer: PeerName;
  readonly have: Bitfield;
  readonly sameZone: boolean;
  /** Scheduler's milliseconds; until then it is asked for nothing. */
  busyUntil: number;
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
  /** Per chunk, how many neighbours have it. */
  readonly #holders: Uint16Array;

  constructor(chunks: number) {
    this.#chunks = chunks;
    this.#holders = new Uint16Array(chunks);
  }

  get size(): number {
    return this.#known.size;
  }

  get sameZone(): number {
    let count = 0;
    for (const { sameZone } of this.#known.values()) if (sameZone) count++;
    return count;
  }

  get(peer: PeerName): Neighbour | undefined {
    return this.#known.get(peer);
  }

  all(): Iterable<Neighbour> {
    return this.#known.values();
  }

  holders(index: number): number {
    return this.#holders[index] ?? 0;
  }

  /** Adds a neighbour, or takes over its whole bitfield again. */
  link(peer: PeerName, have: Bitfield, sameZone: boolean): Neighbour {
    const before = this.#known.get(peer);
    if (before !== undefined) this.#forget(before);
    const { busyUntil, load, outstanding } = before ?? { busyUntil: 0, load: 0, outstanding: 0 };
    const neighbour = { peer, have, sameZone, busyUntil, load, outstanding };
    this.#known.set(peer, neighbour);
    for (let i = have.firstSet(); i < this.#chunks; i = have.firstSet(i + 1)) this.#count(i, 1);
    return neighbour;
  }

  has(peer: PeerName, index: number): boolean {
    return this.#known.get(peer)?.have.has(index) === true;
  }

  /** @returns whether this was news */
  add(peer: PeerName, index: number): boolean {
    const neighbour = this.#known.get(peer);
    if (neighbour === undefined || index >= this.#chunks || neighbour.have.has(index)) return false;
    neighbour.have.set(index);
    this.#count(index, 1);
    return true;
  }

  /** It has this chunk after all not. */
  drop(peer: PeerName, index: number): void {
    const neighbour = this.#known.get(peer);
    if (neighbour === undefined || !neighbour.have.has(index)) return;
    neighbour.have.clear(index);
    this.#count(index, -1);
  }

  unlink(peer: PeerName): boolean {
    const neighbour = this.#known.get(peer);
    if (neighbour === undefined) return false;
    this.#known.delete(peer);
    this.#forget(neighbour);
    return true;
  }

  /** Those that can be asked for something. */
  free(now: number): readonly Neighbour[] {
    const free: Neighbour[] = [];
    for (const neighbour of this.#known.values()) if (neighbour.busyUntil <= now) free.push(neighbour);
    return free;
  }

  /**
   * The least loaded neighbour that has the chunk and is not busy; ties at random. Undefined where all who have it
   * are busy.
   */
  best(
    index: number,
    now: number,
    random: () => number,
    except?: ReadonlySet<PeerName>,
  ): Neighbour | undefined {
    let best: Neighbour | undefined;
    let bestScore = Infinity;
    let ties = 0;
    for (const neighbour of this.#known.values()) {
      if (!neighbour.have.has(index) || neighbour.busyUntil > now || except?.has(neighbour.peer)) continue;
      const score = (1 + neighbour.load + neighbour.outstanding) * (neighbour.sameZone ? 1 : OTHER_ZONE);
      if (score > bestScore) continue;
      ties = score < bestScore ? 1 : ties + 1;
      if (score === bestScore && random() * ties >= 1) continue;
      best = neighbour;
      bestScore = score;
    }
    return best;
  }

  #forget({ have }: Neighbour): void {
    for (let i = have.firstSet(); i < this.#chunks; i = have.firstSet(i + 1)) this.#count(i, -1);
  }

  #count(index: number, change: number): void {
    this.#holders[index] = (this.#holders[index] ?? 0) + change;
  }
}
