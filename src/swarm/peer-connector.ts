/** How a node finds peers: it announces itself to trackers, and shakes hands with the peers that they name. */
import {
  ALONE_AFTER,
  TRACKER_TIMEOUT_MIN,
  TRACKER_TIMEOUT_MAX,
  MAX_TRACKER_RETRIES,
  TRACKER_TIMEOUT_ACKS,
  HANDSHAKE_TIMEOUT,
  ANNOUNCE_INTERVAL_MIN,
  ANNOUNCE_INTERVAL_MAX,
  ALONE_AFTER_LAST_PEER,
  FEW_PEERS_NAMED,
  MAX_SEED_PEERS,
} from './parameters.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import { Bitfield } from '../protocol/bitfield.ts';
import { ChunkOwners } from './chunk-owners.ts';
import type { TrackedPeer, SwarmMessage } from '../protocol/messages.ts';
import type { SwarmState } from './swarm-state.ts';

export class PeerConnector {
  readonly #state: SwarmState;
  readonly #changed: () => void;
  readonly #startedAt: number;
  /** Peers that owe an answer to a handshake, and since when. */
  readonly #asked: Map<PeerId, number> = new Map();
  /** Peers that declined: full, or gone. */
  readonly #refused: Set<PeerId> = new Set();
  /** When there was a peer last. */
  #hadPeersAt = -Infinity;
  #announcedAt = -Infinity;
  #checked = false;
  /** At which level of trackers this node announces itself (ChunkOwners.trackers), and since when. */
  #level = 0;
  #levelSince: number;
  /** How many peers each tracker of this level named the last time; undefined: it has not replied. */
  #named: Map<PeerId, number | undefined> = new Map();
  /** Trackers that have not replied yet; undefined before the first announce. */
  #unanswered: Set<PeerId> | undefined;
  /** Trackers that are dead or silent: the next in order are asked instead. */
  readonly #passedOver: Set<PeerId> = new Set();
  /** How often other trackers were asked because none had replied. */
  #retries = 0;
  /** When the present trackers were asked first. */
  #waitsSince: number;
  /** A tracker has replied, with or without peers. */
  #hasReply = false;
  /** The last reply of a tracker named peers. */
  #hasPeers = false;

  constructor(state: SwarmState, changed: () => void) {
    this.#state = state;
    this.#changed = changed;
    this.#startedAt = state.now;
    this.#waitsSince = state.now;
    this.#levelSince = state.now;
  }

  /** Whether nobody else is in the swarm, as far as this node knows. */
  get isAlone(): boolean {
    if (this.#state.peers.size > 0 || this.#asked.size > 0 || this.#hasPeers) return false;
    if (this.#state.now - this.#hadPeersAt < ALONE_AFTER_LAST_PEER) return false;
    // A tracker that was asked instead of a silent one may be new to the swarm: an empty list of it means little.
    if (this.#unanswered?.size === 0 && this.#retries === 0)
      return this.#state.now - this.#startedAt > ALONE_AFTER;
    return !this.#isWaiting && !this.#mayAskOthers;
  }

  /** Whether the peers are not known yet: it is too early to decide what to fetch from upstream. */
  get isUnsettled(): boolean {
    if (this.#state.peers.size > 0 || this.#isRefused) return false;
    return this.#isWaiting || this.#mayAskOthers;
  }

  /** All trackers have replied, and all peers that they named have declined or are gone. */
  get #isRefused(): boolean {
    return this.#hasPeers && this.#unanswered?.size === 0 && this.#asked.size === 0;
  }

  get #isWaiting(): boolean {
    return this.#state.now - this.#waitsSince <= this.#trackerTimeout;
  }

  /** No tracker has replied, and there are others to ask. */
  get #mayAskOthers(): boolean {
    return !this.#hasReply && this.#retries < MAX_TRACKER_RETRIES;
  }

  get #trackerTimeout(): number {
    const { limit } = this.#state.environment.rtt.ack;
    return Math.min(TRACKER_TIMEOUT_MAX, Math.max(TRACKER_TIMEOUT_MIN, TRACKER_TIMEOUT_ACKS * limit));
  }

  /** Announces again when it is time, and forgets peers that do not answer. */
  tick(): void {
    const { now, peers, environment } = this.#state;
    if (peers.size > 0) this.#hadPeersAt = now;
    for (const [peer, at] of this.#asked) if (now - at > HANDSHAKE_TIMEOUT) this.#asked.delete(peer);
    for (const { id } of Array.from(peers.all())) {
      if (environment.membership.get(id) === undefined) this.#state.forget(id);
    }
    if (peers.size === 0 && this.#mayAskOthers && !this.#isWaiting) this.#askOthers();
    // A tracker of this level does not reply.
    if (this.#hasReply && now - this.#levelSince > this.#trackerTimeout) this.#nextLevel();
    const pause =
      peers.size < environment.parameters.peersWanted ? ANNOUNCE_INTERVAL_MIN : ANNOUNCE_INTERVAL_MAX;
    if (now - this.#announcedAt >= pause) this.announce();
  }

  /** The last level at which this node has announced itself. */
  get level(): number {
    return this.#level;
  }

  announce(): void {
    const { swarm, layout, have, environment, now } = this.#state;
    const { membership, parameters } = environment;
    this.#announcedAt = now;
    this.#refused.clear();
    const { size } = layout;
    const { self } = this.#state;
    const live = membership.live();
    const members =
      this.#passedOver.size === 0 ? live : live.filter(({ peer }) => !this.#passedOver.has(peer));
    const trackers = ChunkOwners.trackers(swarm, members, parameters.trackers, self, this.#level);
    this.#named = new Map(trackers.map(({ peer }) => [peer, this.#named.get(peer)]));
    this.#unanswered ??= new Set(this.#named.keys());
    for (const { peer } of trackers) {
      environment.send(peer, { kind: 'announce', swarm, size, complete: have.full });
    }
  }

  /** No tracker replies: the next in order are asked. All nodes that find this meet there. */
  #askOthers(): void {
    for (const peer of this.#unanswered ?? []) this.#passedOver.add(peer);
    this.#retries++;
    this.#unanswered = undefined;
    this.#waitsSince = this.#state.now;
    this.announce();
  }

  peersNamed(from: PeerId, members: readonly TrackedPeer[]): void {
    this.#unanswered?.delete(from);
    this.#passedOver.delete(from);
    this.#hasReply = true;
    this.#hasPeers = members.length > 0;
    if (this.#named.has(from)) this.#named.set(from, members.length);
    this.#estimate();
    if (this.#unanswered?.size === 0) this.#nextLevel();
    for (const { peer, complete } of members) {
      if (complete && this.#isLive(peer) && !this.#state.absent.has(peer)) this.#state.seeds.add(peer);
    }
    // The tick would see it too, but later: the first byte waits for this.
    if (!this.#checked) this.#state.environment.scheduler.after(ALONE_AFTER + 1, this.#changed);
    this.#checked = true;
    const { parameters } = this.#state.environment;
    const isNew = ({ peer }: TrackedPeer): boolean =>
      peer !== this.#state.self &&
      this.#state.peers.get(peer) === undefined &&
      !this.#asked.has(peer) &&
      !this.#refused.has(peer) &&
      !this.#state.isSnubbed(peer) &&
      this.#isLive(peer);
    const fresh = members.filter(isNew);
    // A quarter of the peers is to be of other zones.
    const forFar = Math.ceil(parameters.peersWanted * (1 - parameters.sameZoneShare));
    const { peers, environment } = this.#state;
    let room = parameters.peersWanted - peers.size - this.#asked.size;
    const choice = inOrderOfChoice(fresh, {
      isSameZone: (peer) => this.#isSameZone(peer),
      isKnown: (peer) => environment.contacted.has(peer) || environment.isConnected(peer),
      far: forFar - (peers.size - peers.sameZone),
    });
    for (const peer of choice) {
      if (room-- <= 0) break;
      this.#asked.set(peer, this.#state.now);
      this.#sendHandshake(peer, true);
    }
    this.#changed();
  }

  /**
   * A list that fits into one reply tells how many peers all lists of its level hold; a longer one may hold everybody.
   * Lists fill while many nodes come at once, so the longest one is the best estimate.
   */
  #estimate(): void {
    const { environment } = this.#state;
    const { membership, parameters } = environment;
    const named = this.#mostNamed;
    const members = membership.live().length;
    const lists = ChunkOwners.trackersAt(members, parameters.trackers, this.#level) / parameters.trackers;
    this.#state.swarmSize =
      named < 2 * parameters.peersWanted ? Math.min(members, Math.ceil(named * lists)) : members;
  }

  get #mostNamed(): number {
    return Math.max(0, ...[...this.#named.values()].filter((count) => count !== undefined));
  }

  /**
   * Goes on to the next level if all trackers of this one know few: a small swarm in a large cluster is spread thin.
   */
  #nextLevel(): void {
    const { environment, peers } = this.#state;
    const { membership, parameters } = environment;
    if (this.#mostNamed > FEW_PEERS_NAMED || peers.size > FEW_PEERS_NAMED) return;
    const { length: members } = membership.live();
    if (ChunkOwners.trackersAt(members, parameters.trackers, this.#level) <= parameters.trackers) return;
    this.#level++;
    this.#levelSince = this.#state.now;
    this.#unanswered = undefined;
    this.announce();
  }

  handshake(from: PeerId, message: Extract<SwarmMessage, { kind: 'handshake' }>): void {
    const { peers, layout, environment, swarm, chunks } = this.#state;
    const wasAsked = this.#asked.delete(from);
    const isKnown = peers.get(from) !== undefined;
    if (message.size !== layout.size) {
      this.#refused.add(from);
      this.#state.partWith(from);
      this.#changed();
      return;
    }
    if (message.have.length !== Math.ceil(layout.count / 8)) {
      const detail = `a handshake with ${message.have.length} bytes for ${layout.count} chunks`;
      this.#state.blame(from, 'protocol', detail);
      return;
    }
    const isFull = !isKnown && !wasAsked && peers.size >= environment.parameters.peersMax;
    if (isFull || !this.#isLive(from) || (!isKnown && this.#state.isSnubbed(from))) {
      environment.send(from, { kind: 'bye', swarm, reason: 'full' });
      return;
    }
    const have = new Bitfield(layout.count, message.have.slice());
    peers.put(from, have, this.#isSameZone(from));
    for (let i = have.firstSet(); i < layout.count; i = have.firstSet(i + 1)) chunks.enter(i);
    if (message.asks) this.#sendHandshake(from, false);
    this.#changed();
  }

  bye(from: PeerId, reason: Extract<SwarmMessage, { kind: 'bye' }>['reason']): void {
    this.#asked.delete(from);
    this.#refused.add(from);
    if (reason === 'absent') this.#state.onMissing(from);
    // Chunks that only the leaving peer had are gone: a member must fetch them again.
    if (reason === 'full') this.#state.peers.remove(from);
    else this.#state.forget(from);
    this.#changed();
  }

  peerGone(peer: PeerId): void {
    this.#asked.delete(peer);
    if (this.#unanswered?.delete(peer) !== true) return;
    this.#passedOver.add(peer);
    if (this.#unanswered.size > 0) return;
    if (this.#mayAskOthers) this.#askOthers();
    else this.#nextLevel();
  }

  /** Tells the peers that this node has nothing to give any more. */
  leave(): void {
    const { peers, environment, swarm } = this.#state;
    for (const { id } of peers.all()) environment.send(id, { kind: 'bye', swarm, reason: 'done' });
  }

  #isLive(peer: PeerId): boolean {
    return this.#state.environment.membership.isLive(peer);
  }

  #isSameZone(peer: PeerId): boolean {
    const { membership } = this.#state.environment;
    return membership.get(peer)?.zone === membership.self.zone;
  }

  #sendHandshake(peer: PeerId, asks: boolean): void {
    const { environment, swarm, layout, shareable } = this.#state;
    environment.send(peer, { kind: 'handshake', swarm, size: layout.size, have: shareable.bytes, asks });
  }
}

export interface Preferences {
  readonly isSameZone: (peer: PeerId) => boolean;
  /** A peer that is known from another blob or by gossip costs no new connection. */
  readonly isKnown: (peer: PeerId) => boolean;
  /** How many members of other zones come before those of the same zone. */
  readonly far: number;
}

/**
 * The best first: some seeds; then some members of other zones, or each zone would fetch the blob for itself; then
 * those of the same zone; then the rest. Within each kind known members come first; otherwise the order stays.
 */
export function inOrderOfChoice(
  members: readonly TrackedPeer[],
  { isSameZone, isKnown, far: wanted }: Preferences,
): readonly PeerId[] {
  const known = new Set(members.filter(({ peer }) => isKnown(peer)));
  const ordered = [...known, ...members.filter((member) => !known.has(member))];
  const seeds = ordered.filter(({ complete }) => complete).slice(0, MAX_SEED_PEERS);
  const near = ordered.filter(({ peer }) => isSameZone(peer));
  const far = ordered.filter(({ peer }) => !isSameZone(peer));
  const first = far.slice(0, Math.max(0, wanted));
  return [...new Set([...seeds, ...first, ...near, ...far].map(({ peer }) => peer))];
}
