/** Which chunk to ask for next, and of which peer. The same state and random numbers give the same choice. */
import type { ReadonlyBitfield } from '../protocol/bitfield.ts';
import type { ZoneTurns } from './zone-turns.ts';
import type { SwarmPeer, PeerSet } from './peer-set.ts';

export interface Choice {
  readonly index: number;
  readonly peer: SwarmPeer;
}

type Free = ReturnType<PeerSet['free']>;

export interface ChunkPickerOptions {
  readonly peers: PeerSet;
  readonly zones: Pick<ZoneTurns, 'mayCross' | 'takeNextAt'>;
  /** Neither here nor asked for. */
  readonly wanted: ReadonlyBitfield;
  readonly random: () => number;
  /** How often the first chunk is taken instead of the rarest. */
  readonly inOrder: number;
}

export class ChunkPicker {
  readonly #options: ChunkPickerOptions;
  /** The state in which no peer could give anything: until it changes, none can. */
  #emptyHanded = { gains: -1, changes: -1, until: 0 };

  constructor(options: ChunkPickerOptions) {
    this.#options = options;
  }

  /**
   * The first wanted chunk that a peer can give now, or (mostly) the one that the fewest peers have: others will want a
   * rare chunk from this node next. Undefined if no peer can give anything wanted.
   */
  pick(now: number): Choice | undefined {
    const { peers, wanted, random } = this.#options;
    const { gains } = peers;
    const { changes } = wanted;
    if (
      gains === this.#emptyHanded.gains &&
      changes === this.#emptyHanded.changes &&
      now < this.#emptyHanded.until
    )
      return undefined;
    const index = this.#choose(peers.free(now));
    const peer = index === undefined ? undefined : peers.best(index, now, random);
    if (index !== undefined && peer !== undefined) return { index, peer };
    this.#emptyHanded = {
      gains,
      changes,
      until: Math.min(peers.nextFree(now), this.#options.zones.takeNextAt()),
    };
    return undefined;
  }

  #choose(free: Free): number | undefined {
    const { wanted, random, inOrder } = this.#options;
    if (free.all.isEmpty) return undefined;
    // Chunk 0 comes first: until it is here, a runtime waits for its first byte, and not for long.
    if (wanted.has(0) && this.#mayAsk(0, free)) return 0;
    return random() < inOrder ? this.#first(free) : this.#rarest(free);
  }

  #mayAsk(index: number, { all, near }: Free): boolean {
    const { peers, zones } = this.#options;
    if (peers.isHeld(index, near)) return true;
    return peers.isHeld(index, all) && zones.mayCross(index, peers.isHeldNear(index));
  }

  #first(free: Free): number | undefined {
    const { wanted } = this.#options;
    for (let index = wanted.firstSet(); index < wanted.length; index = wanted.firstSet(index + 1)) {
      if (this.#mayAsk(index, free)) return index;
    }
    return undefined;
  }

  #rarest(free: Free): number | undefined {
    const { peers, wanted, random } = this.#options;
    let choice: number | undefined;
    let fewest = Infinity;
    let ties = 0;
    for (let index = wanted.firstSet(); index < wanted.length; index = wanted.firstSet(index + 1)) {
      if (!this.#mayAsk(index, free)) continue;
      const holders = peers.holders(index);
      if (holders > fewest) continue;
      ties = holders < fewest ? 1 : ties + 1;
      fewest = holders;
      if (random() * ties < 1) choice = index;
    }
    return choice;
  }
}
