/** What one node knows of one blob in its swarm; shared by the parts of a {@link Session}, which decide on it. */
import { SECOND } from '../util/clock.ts';
import type { SuspicionReason } from '../cluster/membership.ts';
import type { PeerName } from '../protocol/peer-id.ts';
import { Bitfield } from '../protocol/bitfield.ts';
import type { ReceiveShare } from '../util/receive-budget.ts';
import type { ChunkLayout } from '../protocol/chunk-layout.ts';
import type { HomeDuty } from '../transfer/chunk-exchange.ts';
import type { Environment, Origin, Sink } from './environment.ts';
import { Homes } from './chunk-owners.ts';
import type { SwarmKey } from '../protocol/messages.ts';
import { Neighbours } from './peer-set.ts';
import type { Statement } from '../protocol/attestation.ts';
import { Verdicts } from './verdicts.ts';

/** Milliseconds for which a neighbour's word holds that it is fetching a chunk: a chunk on a slow line takes seconds. */
const PROMISE_HOLDS: number = 5 * SECOND;

export interface BlameOptions {
  readonly isSlow?: boolean;
  readonly detail?: string | undefined;
}

export interface SwarmStateOptions {
  readonly swarm: SwarmKey;
  readonly layout: ChunkLayout;
  readonly sink: Sink;
  readonly origin: Origin;
  readonly environment: Environment;
  /** Bytes are arriving. */
  readonly onProgress: () => void;
  /** What a home needs to fetch in this node's stead. */
  readonly home: () => HomeDuty;
}

/** A peer's word that it is fetching a chunk. */
interface Promised {
  readonly by: PeerName;
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
  readonly neighbours: Neighbours;
  readonly homes: Homes;
  /** Chunks that are here. */
  readonly here: Bitfield;
  /** Chunks that have entered the cluster, as far as is known here. */
  readonly seen: Bitfield;
  readonly statements: (Statement | undefined)[];
  readonly verdicts: Verdicts = new Verdicts(this);
  /** What is here turned out wrong: none of it goes out any more. */
  isVoid = false;
  /** Chunks that are on their way to here, and how often: from a peer, or from the registry. */
  readonly arriving: Uint8Array;
  /** Chunks that are neither here nor on their way. */
  readonly wanted: Bitfield;
  /** Peers that are known to have a chunk without being neighbours. */
  readonly elsewhere: Map<number, Set<PeerName>> = new Map();
  /** Chunks that a neighbour is fetching from the registry without being their home. */
  readonly #promised: Map<number, Promised> = new Map();
  /** Members that are said to have the whole blob, neighbours or not: the registry need not be asked while one answers. */
  readonly seeds: Set<PeerName> = new Set();
  /** Members that were said to have the whole blob, and have not: their store may have given it up. */
  readonly absent: Set<PeerName> = new Set();
  /** This blob's part of what may be here and not be written. */
  readonly room: ReceiveShare;
  /** There is room again. */
  onRoom: () => void = nothing;
  /** How many others pull the blob, about, or at most: as far as the rendezvous tell. */
  company = 0;
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
    this.neighbours = new Neighbours(layout.count);
    this.homes = new Homes(swarm, environment.membership);
    this.here = new Bitfield(layout.count);
    this.seen = new Bitfield(layout.count);
    this.statements = Array.from({ length: layout.count });
    this.arriving = new Uint8Array(layout.count);
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
    return this.here.has(index) && this.statements[index] !== undefined;
  }

  /** The chunks that can be handed on. What an earlier run left behind is not told of: nobody vouches for it. */
  get shareable(): Bitfield {
    const bits = new Bitfield(this.layout.count, this.here.bytes.slice());
    for (let i = bits.firstSet(); i < bits.length; i = bits.firstSet(i + 1)) {
      if (this.statements[i] === undefined) bits.clear(i);
    }
    return bits;
  }

  get self(): PeerName {
    return this.environment.membership.self.peer;
  }

  get now(): number {
    return this.#scheduler.now();
  }

  /**
   * Whether others are asked before the peer: it has acknowledged nothing lately, of any blob, or its word counts for
   * nothing in the name of this registry.
   */
  isMute(peer: PeerName): boolean {
    const { mute, distrust } = this.environment;
    return (mute.get(peer) ?? 0) > this.now || distrust.has(this.swarm.registry, peer);
  }

  /** Whether what the peer states counts in the name of this registry. */
  isBelieved(peer: PeerName): boolean {
    return !this.environment.distrust.has(this.swarm.registry, peer);
  }

  /**
   * A peer has said what no honest neighbour says. Anybody else may have been told another size of the blob by the
   * registry, and then what it says has no meaning here.
   */
  offended(peer: PeerName, detail: string): void {
    if (this.neighbours.get(peer) !== undefined) this.blame(peer, 'protocol', { detail });
  }

  /** The registry has told the peer another size of this blob: neither has what the other one pulls. */
  partWith(peer: PeerName): void {
    this.environment.send(peer, { kind: 'unlink', swarm: this.swarm, reason: 'absent' });
    this.forget(peer);
    this.hasNot(peer);
  }

  /** Neither here nor on its way. */
  isWanted(index: number): boolean {
    return this.wanted.has(index);
  }

  /** Whether somebody who can be asked has it. */
  isNear(index: number): boolean {
    return this.neighbours.isHeld(index) || (this.elsewhere.get(index)?.size ?? 0) > 0;
  }

  /**
   * A peer says that it is fetching the chunk: nobody else need.
   * @param until scheduler's milliseconds
   */
  promise(index: number, by: PeerName, until: number = this.now + PROMISE_HOLDS): void {
    const before = this.#promised.get(index);
    const since = before?.by === by ? before.since : this.now;
    this.#promised.set(index, { by, since, until });
  }

  /** It is not, any more. */
  unpromise(index: number, by: PeerName): void {
    if (this.#promised.get(index)?.by === by) this.#promised.delete(index);
  }

  /** Whether somebody says so; `except`: but not this one. */
  isPromised(index: number, except?: PeerName): boolean {
    const promise = this.#promised.get(index);
    if (promise === undefined || promise.by === except) return false;
    if (promise.until > this.now) return true;
    this.#promised.delete(index);
    return false;
  }

  /** Whether somebody began to fetch it within the last so many milliseconds. */
  isPromisedSince(index: number, ms: number): boolean {
    return this.isPromised(index) && this.now - (this.#promised.get(index)?.since ?? 0) < ms;
  }

  /** The first `count` chunks that have not entered the cluster. */
  unseen(count: number): readonly number[] {
    const found: number[] = [];
    for (let i = this.seen.firstClear(); i < this.layout.count && found.length < count;) {
      found.push(i);
      i = this.seen.firstClear(i + 1);
    }
    return found;
  }

  progressed(): void {
    this.lastByte = this.now;
    this.environment.budget.lastByte = this.now;
    this.heard();
  }

  /** No byte, but a sign that the swarm gets on: from a slow registry a chunk takes seconds, and all wait for it. */
  heard(): void {
    this.lastProgress = this.now;
    this.options.onProgress();
  }

  began(index: number): void {
    this.arriving[index] = (this.arriving[index] ?? 0) + 1;
    this.wanted.clear(index);
  }

  ended(index: number): void {
    const left = Math.max(0, (this.arriving[index] ?? 0) - 1);
    this.arriving[index] = left;
    if (left === 0 && !this.here.has(index)) this.wanted.set(index);
  }

  /** The chunk is here. */
  arrived(index: number): void {
    this.here.set(index);
    this.seen.set(index);
    this.wanted.clear(index);
  }

  addElsewhere(index: number, peer: PeerName): void {
    if (this.isMute(peer)) return;
    const known = this.elsewhere.get(index) ?? new Set();
    known.add(peer);
    this.elsewhere.set(index, known);
  }

  /** It says itself that it has not got the blob, or the chunk. */
  hasNot(peer: PeerName): void {
    this.seeds.delete(peer);
    this.absent.add(peer);
  }

  /** A peer that is no neighbour says that it has the chunk. */
  told(index: number, peer: PeerName): void {
    this.seen.set(index);
    if (!this.here.has(index)) this.addElsewhere(index, peer);
  }

  /** Forgets that the peer has anything. `isSlow`: its word about what it is fetching holds as long as it would. */
  forget(peer: PeerName, isSlow = false): void {
    const claimed = this.neighbours.unlink(peer);
    this.seeds.delete(peer);
    for (const [index, peers] of this.elsewhere) {
      if (peers.delete(peer) && peers.size === 0) this.elsewhere.delete(index);
    }
    if (!isSlow) for (const [index, { by }] of this.#promised) if (by === peer) this.#promised.delete(index);
    this.#doubt(claimed, peer);
    this.statements.forEach((statement, index) => {
      if (statement?.by === peer && this.isLost(index)) this.seen.clear(index);
    });
  }

  /** What only this peer said that it has may never have entered the cluster, or has left it: homes see to it again. */
  #doubt(claimed: readonly number[], peer: PeerName): void {
    const { membership } = this.environment;
    for (const i of claimed) {
      if (this.here.has(i) || this.isNear(i)) continue;
      const by = this.statements[i]?.by;
      const isElsewhere = by !== undefined && by !== peer && membership.isLive(by);
      if (!isElsewhere) this.seen.clear(i);
    }
  }

  /** Whether the chunk is said to have entered the cluster, but nobody is known who has it, nor is it on its way. */
  isLost(index: number): boolean {
    return this.seen.has(index) && this.isWanted(index) && !this.isNear(index);
  }

  /**
   * Tries the one who vouched for a lost chunk: it brought the chunk in, and if it has died before it handed it on,
   * nobody else would find that out, as all take the chunk for seen.
   */
  look(index: number): void {
    const by = this.statements[index]?.by;
    if (by !== undefined && by !== this.self && this.environment.membership.isLive(by)) {
      this.addElsewhere(index, by);
    } else this.seen.clear(index);
  }

  /**
   * Blames a peer, and stops relying on it; `isSlow` as for {@link forget}.
   * @param detail for the log: what it did
   */
  blame(peer: PeerName, reason: SuspicionReason, { isSlow = false, detail }: BlameOptions = {}): void {
    this.environment.observer.blamed(this.swarm, peer, reason, detail);
    if (reason === 'wrong-hash') this.environment.membership.ban(peer, reason);
    else this.environment.membership.suspect(peer, reason);
    this.forget(peer, isSlow);
  }
}

function nothing(): void {
  // Nobody is told yet.
}
