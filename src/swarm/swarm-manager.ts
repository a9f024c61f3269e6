/**
 * All swarms that one node is in, and its two services for other swarms. As a tracker it keeps the list of their peers
 * (Tracker). As an owner it grants claims, so that one member fetches each chunk (Uploader, Claims).
 *
 * Messages come in here and go on to their swarm. Requests for chunks go to the uploader.
 */
import { assertNever } from '../util/errors.ts';
import { ASK_ALL_MEMBERS, MAX_HOLDERS_NAMED, NEW_MEMBER_TOLD } from './parameters.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import type { Digest } from '../oci/digest.ts';
import { Bitfield } from '../protocol/bitfield.ts';
import { ChunkLayout } from '../protocol/chunk-layout.ts';
import { Claims } from './claims.ts';
import { Uploader } from './uploader.ts';
import type { SwarmKey, SwarmMessage } from '../protocol/messages.ts';
import { ChunkOwners } from './chunk-owners.ts';
import { Tracker } from './tracker.ts';
import { DhtSearches } from './dht-searches.ts';
import { Swarm, type SwarmOptions } from './swarm.ts';
import type { Environment } from './environment.ts';

export interface SwarmManagerOptions {
  readonly environment: Environment;
  /** Calls back with the size of the whole blob if this node can send it in this swarm. */
  readonly holds: (swarm: SwarmKey, answer: (size: number | undefined) => void) => void;
  /** Looks in the DHT for holders of a blob whose swarm is new to its tracker. */
  readonly findProviders: (swarm: SwarmKey, found: (peers: readonly PeerId[]) => void) => void;
}

export class SwarmManager {
  readonly uploader: Uploader;
  readonly #claims: Claims;
  readonly #options: SwarmManagerOptions;
  /** By digest, and there one for each registry: a message finds its swarm without a new string. */
  readonly #swarms: Map<Digest, readonly Swarm[]> = new Map();
  readonly #tracker: Tracker;
  readonly #searches: DhtSearches;
  readonly #stopWatching: () => void;

  constructor(options: SwarmManagerOptions) {
    const { membership, scheduler, parameters } = options.environment;
    this.#options = options;
    const isLive = (peer: PeerId): boolean => membership.isLive(peer);
    this.#claims = new Claims(scheduler, isLive);
    const swarmOf = (swarm: SwarmKey): Swarm | undefined => this.get(swarm);
    this.uploader = new Uploader({ parameters, scheduler, swarmOf, claims: this.#claims });
    const zoneOf = (peer: PeerId): string | undefined => membership.get(peer)?.zone;
    this.#tracker = new Tracker({ scheduler, isLive, zoneOf, peers: 2 * parameters.peersWanted });
    this.#searches = new DhtSearches((swarm, found) => options.findProviders(swarm, found));
    this.#stopWatching = membership.onChange(() => this.#membersChanged());
  }

  get environment(): Environment {
    return this.#options.environment;
  }

  get swarms(): readonly Swarm[] {
    return [...this.#swarms.values()].flat();
  }

  /** How many entries about other members are kept: they must not grow for ever. */
  get remembered(): number {
    const { contacted, strikes, snubbed, distrust } = this.#options.environment;
    const ofPeers = contacted.size + strikes.size + snubbed.size + distrust.size;
    return ofPeers + this.#tracker.size + this.#claims.size;
  }

  get({ registry, digest }: SwarmKey): Swarm | undefined {
    const swarms = this.#swarms.get(digest);
    if (swarms === undefined) return undefined;
    for (const joined of swarms) if (joined.state.swarm.registry === registry) return joined;
    return undefined;
  }

  /** Begins to pull a blob with others. The caller closes the swarm when the blob is stored or given up. */
  open(options: Omit<SwarmOptions, 'environment' | 'claims'>): Swarm {
    const { environment } = this.#options;
    const joined = new Swarm({
      ...options,
      environment,
      claims: this.#claims,
      onChunk: (index, from) => {
        this.uploader.arrived(options.swarm, index);
        this.#tellOwner(options.swarm, joined, index, from);
        options.onChunk(index, from);
      },
    });
    const { registry, digest } = options.swarm;
    const others = this.#swarms.get(digest)?.filter(({ state }) => state.swarm.registry !== registry);
    this.#swarms.set(digest, [...(others ?? []), joined]);
    joined.start();
    return joined;
  }

  /** @param kept whether the blob is whole and stays */
  close(joined: Swarm, kept: boolean): void {
    const { swarm, layout, have } = joined.state;
    joined.stop();
    this.#forget(joined);
    this.uploader.ended(swarm);
    if (kept) this.announce(swarm, layout.size, joined.trackerLevel);
    else if (have.full) joined.leave(); // an incomplete swarm leaves as it stops
  }

  #forget(joined: Swarm): void {
    const { digest } = joined.state.swarm;
    const swarms = this.#swarms.get(digest)?.filter((other) => other !== joined) ?? [];
    if (swarms.length > 0) this.#swarms.set(digest, swarms);
    else this.#swarms.delete(digest);
  }

  message(from: PeerId, message: SwarmMessage): void {
    const { swarm } = message;
    const joined = this.get(swarm);
    switch (message.kind) {
      case 'announce':
        return this.#announced(from, message);
      case 'bye':
        this.#options.environment.missing.settle(swarm, from);
        break;
      case 'have':
        for (const index of message.indices) this.#claims.done(swarm, index, from);
        break;
      case 'claim':
        if (message.held) this.#claims.take(swarm, message.index, from);
        else this.#claims.release(swarm, message.index, from);
        break;
      case 'handshake':
        if (joined === undefined) return this.#handshakeWithoutSwarm(from, message);
        break;
      case 'query':
        return this.#queried(from, message);
      case 'peers':
      case 'attested':
        break;
      default:
        assertNever(message);
    }
    joined?.message(from, message);
  }

  /** This peer cannot be reached. */
  unreachable(peer: PeerId): void {
    for (const joined of this.swarms) joined.peerGone(peer);
  }

  /** Some members that have the whole blob, as far as this node, as its tracker, knows. */
  holders(swarm: SwarmKey, asker: PeerId): readonly PeerId[] {
    const complete = this.#tracker.peersFor(swarm, asker).filter((member) => member.complete);
    return complete.slice(0, MAX_HOLDERS_NAMED).map(({ peer }) => peer);
  }

  stop(): void {
    this.#stopWatching();
    for (const joined of this.swarms) this.close(joined, false);
  }

  #announced(from: PeerId, { swarm, size, complete }: Extract<SwarmMessage, { kind: 'announce' }>): void {
    const { environment, holds } = this.#options;
    const before = this.#tracker.members(swarm);
    const outcome = this.#tracker.announce(swarm, from, complete);
    if (!complete) this.#answer(from, swarm);
    if (outcome === 'new member' && before.length <= NEW_MEMBER_TOLD) {
      // A node that was alone until now must hear of it at once, or it would go on alone.
      for (const peer of before) this.#answer(peer, swarm);
    }
    if (complete || (outcome !== 'new swarm' && !this.#searches.isOwed(swarm))) return;
    // A member may have the blob from a time that this tracker does not remember.
    holds(swarm, (held) => {
      if (held !== undefined) this.#discovered(swarm, [environment.membership.self.peer]);
    });
    // A single chunk is here from upstream before a search ends: only a second announce of the member is worth one.
    const isSmall = new ChunkLayout(size).count === 1;
    if (isSmall && outcome !== 'known') return this.#searches.putOff(swarm);
    this.#searches.begin(swarm, from, (peers) => this.#discovered(swarm, peers));
    this.#askAll(swarm, size);
  }

  /** Asks the members of a small cluster whether they have the blob: after a restart of all, no DHT has a record. */
  #askAll(swarm: SwarmKey, size: number): void {
    const { membership, send } = this.#options.environment;
    const live = membership.live();
    if (live.length > ASK_ALL_MEMBERS) return;
    const known = new Set([membership.self.peer, ...this.#tracker.members(swarm)]);
    for (const { peer } of live) if (!known.has(peer)) send(peer, { kind: 'query', swarm, size });
  }

  #queried(from: PeerId, { swarm, size }: Extract<SwarmMessage, { kind: 'query' }>): void {
    const { environment, holds } = this.#options;
    holds(swarm, (held) => {
      if (held === size) environment.send(from, { kind: 'announce', swarm, size, complete: true });
    });
  }

  #discovered(swarm: SwarmKey, peers: readonly PeerId[]): void {
    const fresh = peers.filter((peer) => !this.#tracker.members(swarm).includes(peer));
    if (fresh.length === 0) return;
    const before = this.#tracker.members(swarm);
    for (const peer of fresh) this.#tracker.announce(swarm, peer, true);
    for (const peer of before) this.#answer(peer, swarm);
  }

  #answer(peer: PeerId, swarm: SwarmKey): void {
    const peers = this.#tracker.peersFor(swarm, peer);
    this.#options.environment.send(peer, { kind: 'peers', swarm, peers });
  }

  /** A node with the whole blob answers as a peer that has all chunks; it keeps nothing for that. */
  #handshakeWithoutSwarm(from: PeerId, message: Extract<SwarmMessage, { kind: 'handshake' }>): void {
    const { swarm, size, asks } = message;
    if (!asks) return;
    const { environment, holds } = this.#options;
    holds(swarm, (held) => {
      if (held !== size) {
        environment.send(from, { kind: 'bye', swarm, reason: 'absent' });
        return;
      }
      const have = new Bitfield(new ChunkLayout(size).count);
      for (let index = 0; index < have.length; index++) have.set(index);
      environment.send(from, { kind: 'handshake', swarm, size, have: have.bytes, asks: false });
    });
  }

  /** Tells an owner that does not pull the blob that the chunk is here, so that it can send others. */
  #tellOwner(swarm: SwarmKey, joined: Swarm, index: number, from: PeerId | undefined): void {
    if (from !== undefined) return;
    const [owner] = joined.state.owners.of(index);
    const { self, peers } = joined.state;
    if (owner === undefined || owner.peer === self || peers.get(owner.peer) !== undefined) return;
    this.#options.environment.send(owner.peer, { kind: 'have', swarm, indices: [index] });
  }

  /** Tells the owners of a manifest that this node has it. */
  announceManifest(swarm: SwarmKey, size: number): void {
    const { membership, parameters, send } = this.#options.environment;
    for (const { peer } of ChunkOwners.ownersOfManifest(swarm, membership.live(), parameters.trackers)) {
      send(peer, { kind: 'announce', swarm, size, complete: true });
    }
  }

  /** Tells the trackers, up to this level, that this node has the whole blob. */
  announce(swarm: SwarmKey, size: number, lastLevel = 0): void {
    const { membership, parameters, send } = this.#options.environment;
    const { peer: self } = membership.self;
    const told = new Set<PeerId>();
    for (let level = 0; level <= lastLevel; level++) {
      const members = ChunkOwners.trackers(swarm, membership.live(), parameters.trackers, self, level);
      for (const { peer } of members) told.add(peer);
    }
    for (const peer of told) send(peer, { kind: 'announce', swarm, size, complete: true });
  }

  #membersChanged(): void {
    const { membership, contacted, strikes, snubbed } = this.#options.environment;
    // Entries of members that are gone for good would stay for good.
    for (const known of [contacted, strikes, snubbed]) {
      for (const peer of known.keys()) if (membership.get(peer) === undefined) known.delete(peer);
    }
    for (const joined of this.swarms) {
      for (const { id } of Array.from(joined.state.peers.all())) {
        if (!membership.isLive(id)) joined.peerGone(id);
      }
      joined.pump();
    }
  }
}
