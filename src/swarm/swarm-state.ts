/** What one node knows of one blob in its swarm. The parts of a `Swarm` (swarm.ts) share it, and decide by it. */
import { OWNER_RANKS } from './parameters.ts';
import type { SuspicionReason } from '../cluster/membership.ts';
import type { Member } from '../protocol/member.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import { Bitfield, type ReadonlyBitfield } from '../protocol/bitfield.ts';
import type { ReceiveShare } from '../util/receive-budget.ts';
import type { ChunkLayout } from '../protocol/chunk-layout.ts';
import type { OwnerRequest } from '../transfer/chunk-exchange.ts';
import type { Claims } from './claims.ts';
import type { Environment, ChunkUpstream, Sink } from './environment.ts';
import { ChunkOwners } from './chunk-owners.ts';
import { ChunkTable } from './chunk-table.ts';
import { MESSAGE_LIMITS, type SwarmKey } from '../protocol/messages.ts';
import { PeerSet } from './peer-set.ts';
import type { Attestation } from '../protocol/attestation.ts';
import { Verdicts } from './verdicts.ts';

export interface SwarmStateOptions {
  readonly swarm: SwarmKey;
  readonly layout: ChunkLayout;
  readonly sink: Sink;
  readonly upstream: ChunkUpstream;
  readonly environment: Environment;
  /** What this node has granted as an owner, and takes for its own chunks. */
  readonly claims: Claims;
  /** Bytes are arriving. */
  readonly onProgress: () => void;
  /** What an owner needs to fetch a chunk for this node. */
  readonly ownerRequest: () => OwnerRequest;
}

export class SwarmState {
  readonly swarm: SwarmKey;
  readonly layout: ChunkLayout;
  readonly options: SwarmStateOptions;
  readonly environment: Environment;
  readonly #scheduler: Environment['scheduler'];
  readonly peers: PeerSet;
  readonly owners: ChunkOwners;
  /** The state of each chunk, and its only writer. */
  readonly chunks: ChunkTable;
  readonly verdicts: Verdicts = new Verdicts(this);
  /** The whole blob has a wrong digest: no chunk of it is sent any more. */
  isVoid = false;
  /** Members that have a chunk and are no peers of this node. */
  readonly otherHolders: Map<number, Set<PeerId>> = new Map();
  /** Members that are said to have the whole blob, peers or not: while one answers, upstream need not be asked. */
  readonly seeds: Set<PeerId> = new Set();
  /** Members that were said to have the whole blob and lack it: their store may have dropped it. */
  readonly absent: Set<PeerId> = new Set();
  /** This blob's share of the bytes that may be here unwritten. */
  readonly room: ReceiveShare;
  /** There is room again. */
  onRoom: () => void = nothing;
  /** Estimate of how many others pull the blob, or an upper bound, from the trackers' lists. */
  swarmSize = 0;
  /** Scheduler's milliseconds of the last byte. */
  lastByte: number;
  /** The same of the last byte or news: another member got on, or says that it is fetching. */
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
    this.chunks = new ChunkTable(layout.count);
    this.lastProgress = environment.scheduler.now();
    this.lastByte = this.lastProgress;
    for (let index = 0; index < layout.count; index++) {
      if (sink.has(index)) this.chunks.arrive(index);
    }
    if (environment.wholeRegistries.has(swarm.registry)) this.fetchWhole();
  }

  /** Whether one owner fetches all chunks with one request. */
  get fetchesWhole(): boolean {
    return this.owners.fetchGroup === MESSAGE_LIMITS.fetchGroup;
  }

  /** The registry answers a part of a blob with the whole. */
  fetchWhole(): void {
    this.environment.wholeRegistries.add(this.swarm.registry);
    this.owners.grow(MESSAGE_LIMITS.fetchGroup);
  }

  get have(): ReadonlyBitfield {
    return this.chunks.have;
  }

  get attested(): ReadonlyBitfield {
    return this.chunks.attested;
  }

  get attestations(): readonly (Attestation | undefined)[] {
    return this.chunks.attestations;
  }

  /** Whether the chunk can be sent to peers: it is here, and attested. */
  isShareable(index: number): boolean {
    return this.have.has(index) && this.attestations[index] !== undefined;
  }

  /** The chunks that can be sent to peers. Chunks of an earlier run are left out until they are attested. */
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
   * Whether others are asked before the peer: it has acknowledged nothing lately, for any blob, or it is not believed
   * about this registry.
   */
  isSnubbed(peer: PeerId): boolean {
    const { snubbed, distrust } = this.environment;
    return (snubbed.get(peer) ?? 0) > this.now || distrust.has(this.swarm.registry, peer);
  }

  /** Whether the peer's attestations count for this registry. */
  isBelieved(peer: PeerId): boolean {
    return !this.environment.distrust.has(this.swarm.registry, peer);
  }

  /**
   * A message that no honest peer of the swarm sends. Only peers are blamed: the registry may have named any other
   * member another size of the blob, and then its messages have no meaning here.
   */
  offended(peer: PeerId, detail: string): void {
    if (this.peers.get(peer) !== undefined) this.blame(peer, 'protocol', detail);
  }

  /** The registry has named the peer another size of this blob: neither has the bytes that the other pulls. */
  partWith(peer: PeerId): void {
    this.environment.send(peer, { kind: 'bye', swarm: this.swarm, reason: 'absent' });
    this.forget(peer);
    this.onMissing(peer);
  }

  /** Neither here nor on its way. */
  isWanted(index: number): boolean {
    return this.chunks.missing.has(index);
  }

  /** Whether a member that can be asked has it. */
  isReachable(index: number): boolean {
    return this.peers.isHeld(index) || (this.otherHolders.get(index)?.size ?? 0) > 0;
  }

  /**
   * Whether this node is among the first `count` members of the swarm in the chunk's own order; among twice as many for
   * each {@link Parameters.ownerPatience} waited.
   */
  hasTurn(index: number, count: number, waited: number): boolean {
    const { membership, parameters } = this.environment;
    // One of the first members was named few peers, and has many now.
    const isPopular = this.peers.size >= 2 * parameters.peersWanted;
    // The very first member was named no peers, and will be sent some in a moment.
    const isUnknown = this.swarmSize === 0;
    const swarmSize = isPopular || isUnknown ? membership.live().length : this.swarmSize;
    if (swarmSize <= count) return true;
    return (
      swarmSize * this.owners.shareBefore(index, this.self) < count * 2 ** (waited / parameters.ownerPatience)
    );
  }

  /** The owner that ranks next after `peer`; undefined if none does. */
  ownerAfter(index: number, peer: PeerId): PeerId | undefined {
    const rank = this.owners.rankOf(index, peer) + 1;
    return rank < OWNER_RANKS ? this.ownerOf(index, rank) : undefined;
  }

  /** Whether this node fetches the chunk unasked: it is the owner, or those before it have missed two acknowledgements. */
  isArbiter(index: number): boolean {
    const { strikes, snubbed } = this.environment;
    for (const { peer } of this.owners.of(index)) {
      if (peer === this.self) return true;
      if ((strikes.get(peer) ?? 0) < 2 || (snubbed.get(peer) ?? 0) <= this.now) return false;
    }
    return false;
  }

  /**
   * The owner to ask: the first that answers, as far as this node knows. One that acknowledges nothing would hold up
   * each of its chunks.
   * @param rank of the first owner that is considered
   */
  ownerOf(index: number, rank = 0): PeerId | undefined {
    const owners = this.owners.of(index);
    for (let at = rank; at < owners.length; at++) {
      const { peer } = owners[at] as Member;
      if (!this.isSnubbed(peer)) return peer;
    }
    return owners[rank]?.peer;
  }

  /** Whether this node, as the chunk's owner, has granted the claim to another member. */
  isClaimed(index: number): boolean {
    return this.options.claims.isTaken(this.swarm, index, this.self);
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

  /** No byte, but a sign that the swarm gets on: a chunk of a slow registry takes seconds, and all wait for it. */
  heard(): void {
    this.lastProgress = this.now;
    this.options.onProgress();
  }

  addOtherHolder(index: number, peer: PeerId): void {
    if (this.isSnubbed(peer)) return;
    const known = this.otherHolders.get(index) ?? new Set();
    known.add(peer);
    this.otherHolders.set(index, known);
  }

  /** The peer itself says that it lacks the blob, or the chunk. */
  onMissing(peer: PeerId): void {
    this.seeds.delete(peer);
    this.absent.add(peer);
  }

  /** A member that is no peer of this node says that it has the chunk. */
  onHave(index: number, peer: PeerId): void {
    this.chunks.enter(index);
    if (!this.have.has(index)) this.addOtherHolder(index, peer);
  }

  /** Forgets what the peer has. */
  forget(peer: PeerId): void {
    const claimed = this.peers.remove(peer);
    this.seeds.delete(peer);
    for (const [index, peers] of this.otherHolders) {
      if (peers.delete(peer) && peers.size === 0) this.otherHolders.delete(index);
    }
    this.#doubt(claimed, peer);
    this.attestations.forEach((attestation, index) => {
      if (attestation?.by === peer && this.isLost(index)) this.chunks.doubt(index);
    });
  }

  /** Chunks that only this peer claimed to have may be nowhere in the cluster: their owners fetch them again. */
  #doubt(claimed: readonly number[], peer: PeerId): void {
    const { membership } = this.environment;
    for (const i of claimed) {
      if (this.have.has(i) || this.isReachable(i)) continue;
      const by = this.attestations[i]?.by;
      const isElsewhere = by !== undefined && by !== peer && membership.isLive(by);
      if (!isElsewhere) this.chunks.doubt(i);
    }
  }

  /** Whether the chunk has entered the cluster, but no holder is known, and it is not on its way. */
  isLost(index: number): boolean {
    return this.attested.has(index) && this.isWanted(index) && !this.isReachable(index);
  }

  /**
   * Blames a peer, and forgets what it has.
   * @param detail for the log: what the peer did
   */
  blame(peer: PeerId, reason: SuspicionReason, detail?: string): void {
    this.environment.observer.blamed(this.swarm, peer, reason, detail);
    if (reason === 'wrong-hash') this.environment.membership.ban(peer, reason);
    else this.environment.membership.suspect(peer, reason);
    this.forget(peer);
  }
}

function nothing(): void {
  // No part listens yet.
}
