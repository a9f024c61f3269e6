/** The owners of a blob's chunks: the member that fetches a chunk from upstream, and its backup owners. */
import {
  MEMBERS_PER_TRACKER,
  OWNER_RANKS,
  OWNERS_MIN,
  OWNERS_SHARE,
  TRACKER_LEVEL_FACTOR,
  TRACKERS_PER_GROUP,
} from './parameters.ts';
import type { Membership } from '../cluster/membership.ts';
import type { Member } from '../protocol/member.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import { chunkKey, hashText, rank, shareBefore } from '../cluster/hrw.ts';
import type { SwarmKey } from '../protocol/messages.ts';
import { registryBlobId } from '../oci/registry-blob.ts';

export class ChunkOwners {
  readonly #membership: Pick<Membership, 'live' | 'version'>;
  readonly #blob: number;
  /** The peer of the last {@link shareBefore}, nearly always this node, and the hash of its peer ID. */
  #hashOf: PeerId | undefined;
  #hash = 0;
  readonly #ranked: Map<number, readonly Member[]> = new Map();
  /** Ranks of {@link #ranksOf}, by group: nearly all calls are for the same peer, this node. */
  readonly #ranks: Map<number, number> = new Map();
  #ranksOf: PeerId | undefined;
  #version = -1;
  #fetchGroup = 1;

  constructor(swarm: SwarmKey, membership: Pick<Membership, 'live' | 'version'>) {
    this.#membership = membership;
    this.#blob = hashText(registryBlobId(swarm));
  }

  /** Chunks that one owner fetches with one request; a power of two. */
  get fetchGroup(): number {
    return this.#fetchGroup;
  }

  /** All members must group alike, so the group only grows, and everybody takes over the largest one. */
  grow(fetchGroup: number): void {
    if (fetchGroup <= this.#fetchGroup) return;
    this.#fetchGroup = fetchGroup;
    this.#clear();
  }

  /** First chunk of the group to which `index` belongs. */
  groupOf(index: number): number {
    return index - (index % this.#fetchGroup);
  }

  /** The key of the chunk's order of members (HRW). */
  keyOf(index: number): number {
    return chunkKey(this.#blob, this.groupOf(index));
  }

  /** The chunk's owner, then its backup owners. */
  of(index: number): readonly Member[] {
    this.#refresh();
    const group = this.groupOf(index);
    let ranked = this.#ranked.get(group);
    if (ranked === undefined) {
      ranked = rank(this.#set(), this.keyOf(index), OWNER_RANKS);
      this.#ranked.set(group, ranked);
    }
    return ranked;
  }

  /** Rank of `peer` among the chunk's owners, -1 if it is none of them. */
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
   * The share of all members that come before `peer` in the chunk's order, 0 to 1. Its owners come first, and each
   * chunk has another order.
   */
  shareBefore(index: number, peer: PeerId): number {
    if (peer !== this.#hashOf) {
      this.#hashOf = peer;
      this.#hash = hashText(peer);
    }
    return shareBefore(this.#hash, this.keyOf(index));
  }

  /** The members that own chunks of this blob. If all did, everybody would have a connection to everybody. */
  #set(): readonly Member[] {
    const members = this.#membership.live();
    const count = Math.max(OWNERS_MIN, Math.ceil(members.length * OWNERS_SHARE));
    return count >= members.length ? members : rank(members, this.#blob, count);
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
   * The trackers to which `asker` announces itself. In a large cluster the askers are in groups, in two independent ways,
   * and each group has its own few trackers, whatever the blob: members of a group meet again with each blob, over
   * connections that are there. If few nodes pull the blob, these lists are short or empty; such a node goes on to the
   * next `level`, which has a quarter as many groups. At the last level all are in one group, and any member may be the
   * blob's tracker.
   */
  static trackers(
    swarm: SwarmKey,
    members: readonly Member[],
    count: number,
    asker: PeerId,
    level = 0,
  ): readonly Member[] {
    const width = ChunkOwners.trackersAt(members.length, count, level);
    const groups = Math.max(1, Math.floor(width / count));
    const blob = registryBlobId(swarm);
    const chosen: Member[] = [];
    for (let at = 0; at < count; at++) {
      // Each level has other trackers than the one before, or one would hear from all askers.
      const group = `rendezvous ${level} ${at} ${hashText(`${at} ${asker}`) % groups}`;
      const few = groups === 1 ? members : rank(members, hashText(group), TRACKERS_PER_GROUP);
      const key = hashText(`${group} ${blob}`);
      const next = rank(few, key, count).find((member) => !chosen.includes(member));
      if (next !== undefined) chosen.push(next);
    }
    return chosen;
  }

  /** How many trackers one swarm has at this level of {@link trackers}; `count` at the last one. */
  static trackersAt(members: number, count: number, level: number): number {
    const widest = count * Math.max(1, Math.ceil(members / MEMBERS_PER_TRACKER));
    return Math.max(count, Math.ceil(widest / TRACKER_LEVEL_FACTOR ** level));
  }

  /** The members that fetch a manifest for all: the owner, then its backup owners. */
  static ownersOfManifest(swarm: SwarmKey, members: readonly Member[], count: number): readonly Member[] {
    return rank(members, hashText(`manifest ${registryBlobId(swarm)}`), count);
  }
}
