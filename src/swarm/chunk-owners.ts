/** The homes of a blob's chunks: who fetches which chunk from the registry, and who stands in for whom. */
import { MEMBERS_PER_TRACKER, TRACKER_LEVEL_FACTOR, OWNER_RANKS } from './parameters.ts';
import type { Membership } from '../cluster/membership.ts';
import type { Member } from '../protocol/member.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import { chunkKey, hashText, rank, shareBefore } from '../cluster/hrw.ts';
import type { SwarmKey } from '../protocol/messages.ts';
import { registryBlobId } from '../oci/registry-blob.ts';

export class ChunkOwners {
  readonly #membership: Pick<Membership, 'live' | 'version'>;
  readonly #blob: number;
  /** Hash of the name of the peer whose share was asked for last: it is nearly always this node. */
  #hashOf: PeerId | undefined;
  #hash = 0;
  readonly #ranked: Map<number, readonly Member[]> = new Map();
  /** Ranks of {@link #ranksOf}, by group: it is nearly always the same peer, this node, that is asked for. */
  readonly #ranks: Map<number, number> = new Map();
  #ranksOf: PeerId | undefined;
  #version = -1;
  #fetchGroup = 1;

  constructor(swarm: SwarmKey, membership: Pick<Membership, 'live' | 'version'>) {
    this.#membership = membership;
    this.#blob = hashText(registryBlobId(swarm));
  }

  /** Chunks that one home fetches with one request; a power of two. */
  get fetchGroup(): number {
    return this.#fetchGroup;
  }

  /** All members are to group alike, so the extent only grows, and everybody takes over the largest one. */
  grow(fetchGroup: number): void {
    if (fetchGroup <= this.#fetchGroup) return;
    this.#fetchGroup = fetchGroup;
    this.#clear();
  }

  /** First chunk of the group that is fetched together with `index`. */
  groupOf(index: number): number {
    return index - (index % this.#fetchGroup);
  }

  /** The chunk's homes, the first in charge. */
  of(index: number): readonly Member[] {
    this.#refresh();
    const group = this.groupOf(index);
    let ranked = this.#ranked.get(group);
    if (ranked === undefined) {
      ranked = rank(this.#membership.live(), chunkKey(this.#blob, group), OWNER_RANKS);
      this.#ranked.set(group, ranked);
    }
    return ranked;
  }

  /** Rank of `peer` among the chunk's homes, -1 where it is none of them. */
  rankOf(index: number, peer: PeerId): number {
    this.#refresh();
    if (peer !== this.#ranksOf) {
      this.#ranksOf = peer;
      this.#ranks.clear();
    }
    const group = this.groupOf(index);
    let known = this.#ranks.get(group);
    if (known === undefined) {
      known = this.of(index).findIndex((member) => member.peer === peer);
      this.#ranks.set(group, known);
    }
    return known;
  }

  /**
   * The share of all members that come before `peer` in the chunk's order, 0 to 1: its homes are first, and for each
   * chunk the order is another one.
   */
  shareBefore(index: number, peer: PeerId): number {
    if (peer !== this.#hashOf) {
      this.#hashOf = peer;
      this.#hash = hashText(peer);
    }
    return shareBefore(this.#hash, chunkKey(this.#blob, this.groupOf(index)));
  }

  #refresh(): void {
    if (this.#version === this.#membership.version) return;
    this.#version = this.#membership.version;
    this.#clear();
  }

  #clear(): void {
    this.#ranked.clear();
    this.#ranks.clear();
  }

  /**
   * The members at which `asker` enters itself in the list of who is in the swarm. In a large cluster there are more
   * of them, and each asker has its own few: the lists overlap, and none has to be told by all. Where few pull the
   * blob these lists are short, or empty: whoever finds that goes on to the next `level`, a quarter as many, and the
   * last level is the same few for everybody.
   */
  static trackers(
    swarm: SwarmKey,
    members: readonly Member[],
    count: number,
    asker: PeerId,
    level = 0,
  ): readonly Member[] {
    const width = ChunkOwners.trackersAt(members.length, count, level);
    // The nodes of one level are not those of the next, or one would have the askers of all.
    const between = level > 0 && width > count ? `${level} ` : '';
    const ranked = rank(members, hashText(`rendezvous ${between}${registryBlobId(swarm)}`), width);
    return ranked.length <= count ? ranked : rank(ranked, hashText(asker), count);
  }

  /** Members that keep the list of one swarm, at this level of {@link trackers}; at the last one, `count`. */
  static trackersAt(members: number, count: number, level: number): number {
    const widest = count * Math.max(1, Math.ceil(members / MEMBERS_PER_TRACKER));
    return Math.max(count, Math.ceil(widest / TRACKER_LEVEL_FACTOR ** level));
  }

  /** The members that get a manifest for all: first in charge. */
  static ownersOfManifest(swarm: SwarmKey, members: readonly Member[], count: number): readonly Member[] {
    return rank(members, hashText(`manifest ${registryBlobId(swarm)}`), count);
  }
}
