/**
 * All swarms that one node is in, and the two things it does for swarms that it is not in: keeping the list of who
 * is (Rendezvous), and seeing to it that each chunk is fetched by one (Desk, as home).
 *
 * Messages come in here and go to the session they are for. What is asked for over the data plane goes to the desk.
 */
import type { PeerName } from '../protocol/peer-id.ts';
import type { Digest } from '../oci/digest.ts';
import { Bitfield } from '../protocol/bitfield.ts';
import { ChunkLayout } from '../protocol/chunk-layout.ts';
import { chunkId, Desk, MAX_HOLDERS } from './uploader.ts';
import type { SwarmKey, SwarmMessage } from '../protocol/messages.ts';
import { Homes } from './chunk-owners.ts';
import { Rendezvous } from './tracker.ts';
import { Searches } from './dht-searches.ts';
import { Session, type SessionOptions } from './swarm.ts';
import type { Environment } from './environment.ts';

/** Members of a swarm that are told of each new one. */
const FEW = 4;

export interface SwarmsOptions {
  readonly environment: Environment;
  /** Calls back with the size of a whole blob that this node can hand out in this swarm, if it has one. */
  readonly holds: (swarm: SwarmKey, answer: (size: number | undefined) => void) => void;
  /** Looks in the DHT for holders of a blob whose swarm is new to its rendezvous. */
  readonly findProviders: (swarm: SwarmKey, found: (peers: readonly PeerName[]) => void) => void;
}

export class Swarms {
  readonly desk: Desk;
  readonly #options: SwarmsOptions;
  /** By digest, and there one for each registry: a message finds its session without a new string. */
  readonly #sessions: Map<Digest, readonly Session[]> = new Map();
  readonly #rendezvous: Rendezvous;
  readonly #searches: Searches;
  readonly #stopWatching: () => void;

  constructor(options: SwarmsOptions) {
    const { membership, scheduler, parameters } = options.environment;
    this.#options = options;
    const isLive = (peer: PeerName): boolean => membership.isLive(peer);
    this.desk = new Desk({ parameters, scheduler, session: (swarm) => this.session(swarm), isLive });
    const zoneOf = (peer: PeerName): string | undefined => membership.get(peer)?.zone;
    this.#rendezvous = new Rendezvous({ scheduler, isLive, zoneOf, sample: 2 * parameters.links });
    this.#searches = new Searches((swarm, found) => options.findProviders(swarm, found));
    this.#stopWatching = membership.onChange(() => this.#membersChanged());
  }

  get environment(): Environment {
    return this.#options.environment;
  }

  get sessions(): readonly Session[] {
    return [...this.#sessions.values()].flat();
  }

  /** How much is remembered of others: what must not grow for ever. */
  get remembered(): number {
    const { acquainted, slack, mute, distrust } = this.#options.environment;
    const ofPeers = acquainted.size + slack.size + mute.size + distrust.size;
    return ofPeers + this.#rendezvous.size + this.desk.leases.size;
  }

  session({ registry, digest }: SwarmKey): Session | undefined {
    const sessions = this.#sessions.get(digest);
    if (sessions === undefined) return undefined;
    for (const session of sessions) if (session.state.swarm.registry === registry) return session;
    return undefined;
  }

  /** Begins to pull a blob in company. The caller closes it when the blob is stored, or given up. */
  open(options: Omit<SessionOptions, 'environment'>): Session {
    const { environment } = this.#options;
    const session = new Session({
      ...options,
      environment,
      onChunk: (index, from) => {
        this.desk.arrived(options.swarm, index);
        this.#tellHome(options.swarm, session, index, from);
        options.onChunk(index, from);
      },
    });
    const { registry, digest } = options.swarm;
    const others = this.#sessions.get(digest)?.filter(({ state }) => state.swarm.registry !== registry);
    this.#sessions.set(digest, [...(others ?? []), session]);
    this.#takeOver(session);
    session.start();
    return session;
  }

  /** What this node knows from its time as a home that did not pull the blob itself. */
  #takeOver({ state }: Session): void {
    const { leases } = this.desk;
    if (leases.isEmpty) return;
    for (let index = 0; index < state.layout.count; index++) {
      const key = chunkId(state.swarm, index);
      const lease = leases.current(key);
      if (lease?.done === true) state.told(index, lease.holder);
      else if (lease !== undefined) state.promise(index, lease.holder, lease.until);
    }
  }

  /** @param kept whether the blob is whole and stays */
  close(session: Session, kept: boolean): void {
    const { swarm, layout, here } = session.state;
    session.stop();
    this.#forget(session);
    this.desk.ended(swarm);
    if (kept) this.announce(swarm, layout.size, session.rendezvousLevel);
    else if (here.full) session.leave(); // one that has not all does so as it stops
  }

  #forget(session: Session): void {
    const { digest } = session.state.swarm;
    const sessions = this.#sessions.get(digest)?.filter((other) => other !== session) ?? [];
    if (sessions.length > 0) this.#sessions.set(digest, sessions);
    else this.#sessions.delete(digest);
  }

  message(from: PeerName, message: SwarmMessage): void {
    const { kind, swarm } = message;
    const session = this.session(swarm);
    if (kind === 'unlink') this.#options.environment.doubts.settle(swarm, from);
    if (kind === 'join') this.#join(from, message);
    else if (kind === 'ask-origin' && session === undefined) this.#askedForOrigin(from, swarm, message.index);
    else if (kind === 'origin-state' && session === undefined) this.#toldOfOrigin(from, message);
    else if (kind === 'link' && session === undefined) this.#linkWithoutSession(from, message);
    else {
      if (kind === 'have' && !this.desk.leases.isEmpty) {
        for (const index of message.indices) this.desk.leases.done(chunkId(swarm, index), from);
      }
      session?.message(from, message);
    }
  }

  /** Nothing reaches this peer. */
  unreachable(peer: PeerName): void {
    for (const session of this.sessions) session.peerGone(peer);
  }

  /** Some who have the whole blob, as far as this node, being its rendezvous, knows. */
  holders(swarm: SwarmKey, asker: PeerName): readonly PeerName[] {
    const complete = this.#rendezvous.sample(swarm, asker).filter((member) => member.complete);
    return complete.slice(0, MAX_HOLDERS).map(({ peer }) => peer);
  }

  stop(): void {
    this.#stopWatching();
    for (const session of this.sessions) this.close(session, false);
  }

  #join(from: PeerName, { swarm, complete }: Extract<SwarmMessage, { kind: 'join' }>): void {
    const { environment, holds } = this.#options;
    const before = this.#rendezvous.members(swarm);
    const joined = this.#rendezvous.join(swarm, from, complete);
    this.#answer(from, swarm);
    if (joined === 'new member' && before.length <= FEW) {
      // Who was alone until now must hear of it at once, or it would go on as if it were.
      for (const peer of before) this.#answer(peer, swarm);
    }
    if ((joined !== 'new swarm' && !this.#searches.isOwed(swarm)) || complete) return;
    // Somebody may have it from a time that this rendezvous does not remember.
    holds(swarm, (size) => {
      if (size !== undefined) this.#discovered(swarm, [environment.membership.self.peer]);
    });
    this.#searches.begin(swarm, from, (peers) => this.#discovered(swarm, peers));
  }

  #discovered(swarm: SwarmKey, peers: readonly PeerName[]): void {
    const fresh = peers.filter((peer) => !this.#rendezvous.members(swarm).includes(peer));
    if (fresh.length === 0) return;
    const before = this.#rendezvous.members(swarm);
    for (const peer of fresh) this.#rendezvous.join(swarm, peer, true);
    for (const peer of before) this.#answer(peer, swarm);
  }

  #answer(peer: PeerName, swarm: SwarmKey): void {
    const members = this.#rendezvous.sample(swarm, peer);
    this.#options.environment.send(peer, { kind: 'sample', swarm, members });
  }

  /**
   * Somebody has gone to the registry for a chunk of which this node is the home: other askers wait for that one, until
   * it leaves the chunk to others.
   */
  #toldOfOrigin(from: PeerName, message: Extract<SwarmMessage, { kind: 'origin-state' }>): void {
    const { swarm, index, state } = message;
    if (state === 'fetching') this.desk.leases.take(chunkId(swarm, index), from);
    else if (state === 'none') this.desk.leases.release(chunkId(swarm, index), from);
  }

  #askedForOrigin(from: PeerName, swarm: SwarmKey, index: number): void {
    const isTaken = this.desk.leases.isTaken(chunkId(swarm, index));
    const state = isTaken ? 'fetching' : 'none';
    this.#options.environment.send(from, { kind: 'origin-state', swarm, index, state });
  }

  /** Who has the whole blob is a neighbour with all of it; nothing has to be remembered for that. */
  #linkWithoutSession(from: PeerName, message: Extract<SwarmMessage, { kind: 'link' }>): void {
    const { swarm, size, asks } = message;
    if (!asks) return;
    const { environment, holds } = this.#options;
    holds(swarm, (held) => {
      if (held !== size) {
        environment.send(from, { kind: 'unlink', swarm, reason: 'absent' });
        return;
      }
      const have = new Bitfield(new ChunkLayout(size).count);
      for (let index = 0; index < have.length; index++) have.set(index);
      environment.send(from, { kind: 'link', swarm, size, have: have.bytes, asks: false });
    });
  }

  /** A home that does not pull the blob learns that the chunk is here, so that it can send others. */
  #tellHome(swarm: SwarmKey, session: Session, index: number, from: PeerName | undefined): void {
    if (from !== undefined) return;
    const [home] = session.state.homes.of(index);
    const { self, neighbours } = session.state;
    if (home === undefined || home.peer === self || neighbours.get(home.peer) !== undefined) return;
    this.#options.environment.send(home.peer, { kind: 'have', swarm, indices: [index] });
  }

  /** Tells those who get a manifest for all that this node has it. */
  announceManifest(swarm: SwarmKey, size: number): void {
    const { membership, parameters, send } = this.#options.environment;
    for (const { peer } of Homes.ofManifest(swarm, membership.live(), parameters.rendezvous)) {
      send(peer, { kind: 'join', swarm, size, complete: true });
    }
  }

  /** Tells the rendezvous, those up to this level, that this node has the whole blob. */
  announce(swarm: SwarmKey, size: number, lastLevel = 0): void {
    const { membership, parameters, send } = this.#options.environment;
    const { peer: self } = membership.self;
    const told = new Set<PeerName>();
    for (let level = 0; level <= lastLevel; level++) {
      const members = Homes.rendezvous(swarm, membership.live(), parameters.rendezvous, self, level);
      for (const { peer } of members) told.add(peer);
    }
    for (const peer of told) send(peer, { kind: 'join', swarm, size, complete: true });
  }

  #membersChanged(): void {
    const { membership, acquainted, slack, mute } = this.#options.environment;
    // Whoever is gone for good would be remembered for good.
    for (const known of [acquainted, slack, mute]) {
      for (const peer of known.keys()) if (membership.get(peer) === undefined) known.delete(peer);
    }
    for (const session of this.sessions) {
      for (const { peer } of Array.from(session.state.neighbours.all())) {
        if (!membership.isLive(peer)) session.peerGone(peer, membership.get(peer) !== undefined);
      }
      session.pump();
    }
  }
}
