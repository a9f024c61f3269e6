/**
 * The tracker's soft state: which members are in which swarm. The first members in hash order for a blob keep it. It is
 * lost at a restart and made anew by the announces that members repeat; nothing depends on it being right.
 */
import {
  MAX_TRACKED_SWARMS,
  MAX_TRACKED_SWARMS_PER_MEMBER,
  MAX_TRACKED_PEERS,
  TRACKED_PEER_EXPIRY,
} from './parameters.ts';
import { LRUCache } from 'lru-cache';
import type { PeerId } from '../protocol/peer-id.ts';
import { MESSAGE_LIMITS, type TrackedPeer, type SwarmKey } from '../protocol/messages.ts';
import { registryBlobId } from '../oci/registry-blob.ts';
import { hashText, mix } from '../cluster/hrw.ts';
import type { Scheduler } from './scheduler.ts';

interface Entry {
  complete: boolean;
  at: number;
  /** Of the peer ID: it is needed for each reply. */
  readonly hash: number;
}

interface Weighed extends TrackedPeer {
  readonly weight: number;
}

export interface TrackerOptions {
  readonly scheduler: Scheduler;
  /** Whether something may be asked of this peer. */
  readonly isLive: (peer: PeerId) => boolean;
  readonly zoneOf: (peer: PeerId) => string | undefined;
  /** Members in one reply. */
  readonly peers: number;
}

export class Tracker {
  readonly #options: TrackerOptions;
  readonly #swarms: LRUCache<string, Map<PeerId, Entry>> = new LRUCache({
    max: MAX_TRACKED_SWARMS,
    dispose: (members, id) => {
      for (const peer of members.keys()) this.#removed(peer, id);
    },
  });
  /** The swarms of each member, the latest announced last. */
  readonly #swarmsOf: Map<PeerId, Set<string>> = new Map();

  constructor(options: TrackerOptions) {
    this.#options = options;
  }

  /** Enters the peer. @returns whether the swarm, or the peer in it, was unknown until now */
  announce(swarm: SwarmKey, peer: PeerId, complete: boolean): 'new swarm' | 'new member' | 'known' {
    const id = registryBlobId(swarm);
    this.#expireOne();
    let members = this.#swarms.get(id);
    const isNew = members === undefined;
    if (members === undefined) {
      members = new Map();
      this.#swarms.set(id, members);
    }
    const now = this.#options.scheduler.now();
    const known = members.get(peer);
    members.delete(peer); // the newest are last
    members.set(peer, { complete, at: now, hash: known?.hash ?? hashText(peer) });
    this.#note(peer, id);
    for (const [oldest, { at }] of members) {
      if (now - at <= TRACKED_PEER_EXPIRY) break;
      this.#drop(id, members, oldest);
    }
    if (members.size > MAX_TRACKED_PEERS) {
      const [oldest] = members.keys();
      if (oldest !== undefined) this.#drop(id, members, oldest);
    }
    if (isNew) return 'new swarm';
    return known === undefined ? 'new member' : 'known';
  }

  /** Notes that the member is in this swarm; if it is in too many, its oldest entry goes. */
  #note(peer: PeerId, id: string): void {
    const announced = this.#swarmsOf.get(peer) ?? new Set<string>();
    this.#swarmsOf.set(peer, announced);
    announced.delete(id);
    announced.add(id);
    const [oldest] = announced;
    if (announced.size <= MAX_TRACKED_SWARMS_PER_MEMBER || oldest === undefined) return;
    const members = this.#swarms.peek(oldest);
    if (members === undefined) announced.delete(oldest);
    else this.#drop(oldest, members, peer);
  }

  #drop(id: string, members: Map<PeerId, Entry>, peer: PeerId): void {
    members.delete(peer);
    this.#removed(peer, id);
    if (members.size === 0) this.#swarms.delete(id);
  }

  #removed(peer: PeerId, id: string): void {
    const announced = this.#swarmsOf.get(peer);
    announced?.delete(id);
    if (announced?.size === 0) this.#swarmsOf.delete(peer);
  }

  /** Forgets the swarm that was used longest ago, if all its members have expired. */
  #expireOne(): void {
    const [oldest] = this.#swarms.rkeys();
    if (oldest === undefined) return;
    const now = this.#options.scheduler.now();
    for (const { at } of this.#swarms.peek(oldest)?.values() ?? [])
      if (now - at <= TRACKED_PEER_EXPIRY) return;
    this.#swarms.delete(oldest);
  }

  /**
   * Members of the swarm, the asker's zone first. Two members have a weight for each other, and those of most weight are
   * named: so the same two meet again in each swarm, over the connection that they have.
   */
  peersFor(swarm: SwarmKey, asker: PeerId): readonly TrackedPeer[] {
    const { scheduler, isLive, zoneOf, peers } = this.#options;
    const own = hashText(asker);
    const id = registryBlobId(swarm);
    const members = this.#swarms.get(id);
    if (members === undefined) return [];
    const zone = zoneOf(asker);
    const near: Weighed[] = [];
    const far: Weighed[] = [];
    for (const [peer, { complete, at, hash }] of members) {
      if (scheduler.now() - at > TRACKED_PEER_EXPIRY) this.#drop(id, members, peer);
      else if (peer !== asker && isLive(peer))
        (zoneOf(peer) === zone ? near : far).push({ peer, complete, weight: mix(own ^ hash) });
    }
    const count = Math.min(peers, MESSAGE_LIMITS.peers);
    // Always some of other zones: otherwise a zone that has all could not be found.
    const fromFar = Math.min(far.length, Math.max(count - near.length, Math.ceil(count / 4)));
    const chosen = [...heaviest(near, count - fromFar), ...heaviest(far, fromFar)];
    return chosen.map(({ peer, complete }) => ({ peer, complete }));
  }

  /** Entries that are kept, over all swarms. */
  get size(): number {
    let size = 0;
    for (const members of this.#swarms.values()) size += members.size;
    return size;
  }

  /** All members of a swarm that this node keeps. */
  members(swarm: SwarmKey): readonly PeerId[] {
    return [...(this.#swarms.get(registryBlobId(swarm))?.keys() ?? [])];
  }
}

function heaviest(members: readonly Weighed[], count: number): readonly Weighed[] {
  return members.toSorted((a, b) => b.weight - a.weight).slice(0, count);
}
