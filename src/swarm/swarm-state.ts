/** What one node knows of one blob in its swarm; shared by the parts of a {@link Session}, which decide on it. */
import { PEER_CLAIM_HOLDS } from './parameters.ts';
import type { SuspicionReason } from '../cluster/membership.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import { Bitfield } from '../protocol/bitfield.ts';
import type { ReceiveShare } from '../util/receive-budget.ts';
import type { ChunkLayout } from '../protocol/chunk-layout.ts';
import type { OwnerDuty } from '../transfer/chunk-exchange.ts';
import type { Environment, ChunkUpstream, Sink } from './environment.ts';
import { ChunkOwners } from './chunk-owners.ts';
import type { SwarmKey } from '../protocol/messages.ts';
import { PeerSet } from './peer-set.ts';
import type { Attestation } from '../protocol/attestation.ts';
import { Verdicts } from './verdicts.ts';

export interface BlameOptions {
  readonly isSlow?: boolean;
  readonly detail?: string | undefined;
}

export interface SwarmStateOptions {
  readonly swarm: SwarmKey;
  readonly layout: ChunkLayout;
  readonly sink: Sink;
  readonly upstream: ChunkUpstream;
  readonly environment: Environment;
  /** Bytes are arriving. */
  readonly onProgress: () => void;
  /** What a home needs to fetch in this node's stead. */
  readonly ownerDuty: () => OwnerDuty;
}

/** A peer's word that it is fetching a chunk. */
interface PeerClaim {
  readonly by: PeerId;
  /** Scheduler's milliseconds of when it said so first, and for how long that holds. */
  readonly since: number;
  readonly until: number;
}

export class SwarmState {
  readonly swarm: SwarmKey;
  readonly layout: ChunkLayout;
  readonly options: SwarmStateOptions;
  readonly environment: Environment;
  readonly #scheduler: Environment['scheduler'];
  readonly peers: PeerSet;
  readonly owners: ChunkOwners;
  /** Chunks that are here. */
  readonly have: Bitfield;
  /** Chunks that have entered the cluster, as far as is known here. */
  readonly attested: Bitfield;
  readonly attestations: (Attestation | undefined)[];
  readonly verdicts: Verdicts = new Verdicts(this);
  /** What is here turned out wrong: none of it goes out any more. */
  isVoid = false;
  /** Chunks that are on their way to here, and how often: from a peer, or from the registry. */
  readonly inFlight: Uint8Array;
  /** Chunks that are neither here nor on their way. */
  readonly wanted: Bitfield;
  /** Peers that are known to have a chunk without being neighbours. */
  readonly otherHolders: Map<number, Set<PeerId>> = new Map();
  /** Chunks that a neighbour is fetching from the registry without being their home. */
  readonly #claims: Map<number, PeerClaim> = new Map();
  /** Members that are said to have the whole blob, neighbours or not: the registry need not be asked while one answers. */
  readonly seeds: Set<PeerId> = new Set();
  /** Members that were said to have the whole blob, and have not: their store may have given it up. */
  readonly absent: Set<PeerId> = new Set();
  /** This blob's part of what may be here and not be written. */
  readonly room: ReceiveShare;
  /** There is room again. */
  onRoom: () => void = nothing;
  /** How many others pull the blob, about, or at most: as far as the rendezvous tell. */
  swarmSize = 0;
  /** Scheduler's milliseconds of the last byte. */
  lastByte: number;
  /** The same of the last byte or news: somebody else has got on, or says that it is at it. */
  lastProgress: number;

  constructor(options: SwarmStateOptions) {
    const { swarm, layout, sink, environment } = options;
    this.options = options;
    this.swarm = swarm;
    this.layout = layout;
    this.environment = environment;
    this.#scheduler = environment.scheduler;
    this.room = environment.room.join(() => this.onRoom());
    this.peers = new PeerSet(layout.count);
    this.owners = new ChunkOwners(swarm, environment.membership);
    this.have = new Bitfield(layout.count);
    this.attested = new Bitfield(layout.count);
    this.attestations = Array.from({ length: layout.count });
    this.inFlight = new Uint8Array(layout.count);
    this.wanted = new Bitfield(layout.count);
    this.lastProgress = environment.scheduler.now();
    this.lastByte = this.lastProgress;
    for (let index = 0; index < layout.count; index++) {
      if (sink.has(index)) this.arrived(index);
      else this.wanted.set(index);
    }
  }

  /** Whether the chunk can be handed on: it is here, and somebody vouches for it. */
  isShareable(index: number): boolean {
    return this.have.has(index) && this.attestations[index] !== undefined;
  }

  /** The chunks that can be handed on. What an earlier run left behind is not told of: nobody vouches for it. */
  get shareable(): Bitfield {
    const bits = new Bitfield(this.layout.count, this.have.bytes.slice());
    for (let i = bits.firstSet(); i < bits.length; i = bits.firstSet(i + 1)) {
      if (this.attestations[i] === undefined) bits.clear(i);
    }
    return bits;
  }

  get self(): PeerId {
    return this.environment.membership.self.peer;
  }

  get now(): number {
    return this.#scheduler.now();
  }

  /**
   * Whether others are asked before the peer: it has acknowledged nothing lately, of any blob, or its word counts for
   * nothing in the name of this registry.
   */
  isSnubbed(peer: PeerId): boolean {
    const { snubbed, distrust } = this.environment;
    return (snubbed.get(peer) ?? 0) > this.now || distrust.has(this.swarm.registry, peer);
  }

  /** Whether what the peer states counts in the name of this registry. */
  isBelieved(peer: PeerId): boolean {
    return !this.environment.distrust.has(this.swarm.registry, peer);
  }

  /**
   * A peer has said what no honest neighbour says. Anybody else may have been told another size of the blob by the
   * registry, and then what it says has no meaning here.
   */
  offended(peer: PeerId, detail: string): void {
    if (this.peers.get(peer) !== undefined) this.blame(peer, 'protocol', { detail });
  }

  /** The registry has told the peer another size of this blob: neither has what the other one pulls. */
  partWith(peer: PeerId): void {
    this.environment.send(peer, { kind: 'bye', swarm: this.swarm, reason: 'absent' });
    this.forget(peer);
    this.onMissing(peer);
  }

  /** Neither here nor on its way. */
  isWanted(index: number): boolean {
    return this.wanted.has(index);
  }

  /** Whether somebody who can be asked has it. */
  isReachable(index: number): boolean {
    return this.peers.isHeld(index) || (this.otherHolders.get(index)?.size ?? 0) > 0;
  }

  /**
   * A peer says that it is fetching the chunk: nobody else need.
   * @param until scheduler's milliseconds
   */
  claimed(index: number, by: PeerId, until: number = this.now + PEER_CLAIM_HOLDS): void {
    const before = this.#claims.get(index);
    const since = before?.by === by ? before.since : this.now;
    this.#claims.set(index, { by, since, until });
  }

  /** It is not, any more. */
  unclaimed(index: number, by: PeerId): void {
    if (this.#claims.get(index)?.by === by) this.#claims.delete(index);
  }

  /** Whether somebody says so; `except`: but not this one. */
  isClaimed(index: number, except?: PeerId): boolean {
    const promise = this.#claims.get(index);
    if (promise === undefined || promise.by === except) return false;
    if (promise.until > this.now) return true;
    this.#claims.delete(index);
    return false;
  }

  /** Whether somebody began to fetch it within the last so many milliseconds. */
  isClaimedWithin(index: number, ms: number): boolean {
    return this.isClaimed(index) && this.now - (this.#claims.get(index)?.since ?? 0) < ms;
  }

  /** The first `count` chunks that have not entered the cluster. */
  unattested(count: number): readonly number[] {
    const found: number[] = [];
    for (let i = this.attested.firstClear(); i < this.layout.count && found.length < count;) {
      found.push(i);
      i = this.attested.firstClear(i + 1);
    }
    return found;
  }

  progressed(): void {
    this.lastByte = this.now;
    this.environment.requestWindow.lastByte = this.now;
    this.heard();
  }

  /** No byte, but a sign that the swarm gets on: from a slow registry a chunk takes seconds, and all wait for it. */
  heard(): void {
    this.lastProgress = this.now;
    this.options.onProgress();
  }

  began(index: number): void {
    this.inFlight[index] = (this.inFlight[index] ?? 0) + 1;
    this.wanted.clear(index);
  }

  ended(index: number): void {
    const left = Math.max(0, (this.inFlight[index] ?? 0) - 1);
    this.inFlight[index] = left;
    if (left === 0 && !this.have.has(index)) this.wanted.set(index);
  }

  /** The chunk is here. */
  arrived(index: number): void {
    this.have.set(index);
    this.attested.set(index);
    this.wanted.clear(index);
  }

  addOtherHolder(index: number, peer: PeerId): void {
    if (this.isSnubbed(peer)) return;
    const known = this.otherHolders.get(index) ?? new Set();
    known.add(peer);
    this.otherHolders.set(index, known);
  }

  /** It says itself that it has not got the blob, or the chunk. */
  onMissing(peer: PeerId): void {
    this.seeds.delete(peer);
    this.absent.add(peer);
  }

  /** A peer that is no neighbour says that it has the chunk. */
  onHave(index: number, peer: PeerId): void {
    this.attested.set(index);
    if (!this.have.has(index)) this.addOtherHolder(index, peer);
  }

  /** Forgets that the peer has anything. `isSlow`: its word about what it is fetching holds as long as it would. */
  forget(peer: PeerId, isSlow = false): void {
    const claimed = this.peers.remove(peer);
    this.seeds.delete(peer);
    for (const [index, peers] of this.otherHolders) {
      if (peers.delete(peer) && peers.size === 0) this.otherHolders.delete(index);
    }
    if (!isSlow) for (const [index, { by }] of this.#claims) if (by === peer) this.#claims.delete(index);
    this.#doubt(claimed, peer);
    this.attestations.forEach((attestation, index) => {
      if (attestation?.by === peer && this.isLost(index)) this.attested.clear(index);
    });
  }

  /** What only this peer said that it has may never have entered the cluster, or has left it: homes see to it again. */
  #doubt(claimed: readonly number[], peer: PeerId): void {
    const { membership } = this.environment;
    for (const i of claimed) {
      if (this.have.has(i) || this.isReachable(i)) continue;
      const by = this.attestations[i]?.by;
      const isElsewhere = by !== undefined && by !== peer && membership.isLive(by);
      if (!isElsewhere) this.attested.clear(i);
    }
  }

  /** Whether the chunk is said to have entered the cluster, but nobody is known who has it, nor is it on its way. */
  isLost(index: number): boolean {
    return this.attested.has(index) && this.isWanted(index) && !this.isReachable(index);
  }

  /**
   * Tries the one who vouched for a lost chunk: it brought the chunk in, and if it has died before it handed it on,
   * nobody else would find that out, as all take the chunk for seen.
   */
  look(index: number): void {
    const by = this.attestations[index]?.by;
    if (by !== undefined && by !== this.self && this.environment.membership.isLive(by)) {
      this.addOtherHolder(index, by);
    } else this.attested.clear(index);
  }

  /**
   * Blames a peer, and stops relying on it; `isSlow` as for {@link forget}.
   * @param detail for the log: what it did
   */
  blame(peer: PeerId, reason: SuspicionReason, { isSlow = false, detail }: BlameOptions = {}): void {
    this.environment.observer.blamed(this.swarm, peer, reason, detail);
    if (reason === 'wrong-hash') this.environment.membership.ban(peer, reason);
    else this.environment.membership.suspect(peer, reason);
    this.forget(peer, isSlow);
  }
}

function nothing(): void {
  // Nobody is told yet.
}
