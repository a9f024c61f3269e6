/**
 * The members that this node knows, and what it holds against some of them.
 *
 * It owns no connection and no timer. The network brings records (gossip, snapshots, hellos) and calls {@link
 * MemberTable.tick}; the swarm brings suspicions and bans. Both read {@link MemberTable.live}. A change by time alone
 * (a suspicion ends, a record expires) shows at the next read, and listeners are told at the next tick.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Clock } from '../util/clock.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import type { AgedRecord } from '../protocol/sync-messages.ts';
import { isGenuineMember, type SignedMember } from '../protocol/signed-record.ts';
import type { Membership, Suspect, SuspicionReason } from './membership.ts';
import type { Member } from '../protocol/member.ts';
import { MemberRecords, type RecordSource } from './member-records.ts';
import { Suspicions } from './suspicions.ts';

export interface MemberTableOptions {
  readonly self: PeerId;
  readonly clock: Clock;
  /** Banned for ever, by configuration. */
  readonly banned?: Iterable<PeerId>;
}

/**
 * What became of a record. `same`: it is known, to the byte. `old`: a newer one is known, or it is about to expire,
 * or it is a stale one of an unknown member. `forged`: its signature is wrong. `own`: this node's, from an earlier
 * run, with a higher sequence than now; this node must exceed it, or nobody takes its record. `refused`: no room at
 * its address, for its source, or in the table.
 */
export type Applied = 'news' | 'same' | 'old' | 'forged' | 'own' | 'refused';

export class MemberTable implements Membership {
  readonly #clock: Clock;
  readonly #records: MemberRecords;
  readonly #suspicions: Suspicions;
  readonly #listeners: Set<() => void> = new Set();
  readonly #banListeners: Set<(peer: PeerId) => void> = new Set();
  readonly #expiryListeners: Set<(member: Member) => void> = new Set();
  #self: Member;
  #version = 0;
  /** The version that listeners have been told of. */
  #told = 0;
  /** Undefined if it must be computed again. */
  #live: readonly Member[] | undefined;
  /** When time alone changes {@link live} next, on the monotonic clock. */
  #deadline = Infinity;

  constructor({ self, clock, banned = [] }: MemberTableOptions) {
    this.#clock = clock;
    this.#records = new MemberRecords(clock);
    this.#suspicions = new Suspicions(clock, banned);
    this.#self = bareMember(self);
  }

  /** This node; without addresses until {@link setSelf} is called. */
  get self(): Member {
    return this.#self;
  }

  get version(): number {
    this.live(); // changes by time count too
    return this.#version;
  }

  /** Known members, including this node, suspects and members that are leaving. */
  get size(): number {
    return this.#records.size;
  }

  live(): readonly Member[] {
    this.#refresh();
    this.#live ??= this.#findLive();
    return this.#live;
  }

  isLive(peer: PeerId): boolean {
    this.#refresh();
    const member = this.get(peer);
    return member !== undefined && this.#isLive(member);
  }

  get(peer: PeerId): Member | undefined {
    if (peer === this.#self.peer) return this.#self;
    return this.#records.get(peer)?.member;
  }

  names(host: string): boolean {
    return this.#records.isAt(host);
  }

  /** Sets this node's signed record, which is newer than the last one. */
  setSelf(record: SignedMember): void {
    this.#self = record.member;
    this.#records.sources.self = record.member.controlAddresses;
    if (this.#records.put(record)) this.#changed();
  }

  /** Takes a member's record, from any source. */
  apply(record: SignedMember, source: RecordSource = {}): Applied {
    const applied = this.#take(record, source);
    this.#tell();
    return applied;
  }

  /** Takes many records of one source, and tells listeners once. @returns the number of each outcome */
  applyAll(records: Iterable<AgedRecord>, by?: string): Readonly<Record<Applied, number>> {
    const counts = { news: 0, same: 0, old: 0, forged: 0, own: 0, refused: 0 };
    for (const { record, age } of records) counts[this.#take(record, { age, by })] += 1;
    this.#tell();
    return counts;
  }

  suspect(peer: PeerId, reason: SuspicionReason): void {
    if (peer === this.#self.peer) return;
    const was = this.#suspicions.reason(peer);
    this.#suspicions.suspect(peer, reason);
    if (was === undefined) this.#changed();
    else this.#deadline = -Infinity; // it ends later now
  }

  /** The suspect is being probed: for `ms` milliseconds its suspicion does not end by time alone. */
  prolong(peer: PeerId, ms: number): void {
    this.#suspicions.prolong(peer, ms);
    this.#deadline = -Infinity;
  }

  clear(peer: PeerId): void {
    if (this.#suspicions.clear(peer)) this.#changed();
  }

  ban(peer: PeerId, reason: SuspicionReason): void {
    if (peer === this.#self.peer) return;
    this.#suspicions.ban(peer, reason);
    this.#changed();
    for (const listener of this.#banListeners) listener(peer);
  }

  /** Bans these peers by the configuration, and no longer those that it banned before. */
  banForever(peers: Iterable<PeerId>): void {
    const added = this.#suspicions.banForever(peers);
    this.#changed();
    for (const peer of added) for (const listener of this.#banListeners) listener(peer);
  }

  isBanned(peer: PeerId): boolean {
    return this.#suspicions.isBanned(peer);
  }

  /** Why nothing is asked of this peer now, or undefined. */
  suspicion(peer: PeerId): SuspicionReason | undefined {
    return this.#suspicions.reason(peer);
  }

  suspects(): readonly Suspect[] {
    return this.#suspicions.list();
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Calls back when a peer is banned: its connections are to be closed. */
  onBan(listener: (peer: PeerId) => void): () => void {
    this.#banListeners.add(listener);
    return () => this.#banListeners.delete(listener);
  }

  /** Calls back when a member is forgotten because its record expired. */
  onExpired(listener: (member: Member) => void): () => void {
    this.#expiryListeners.add(listener);
    return () => this.#expiryListeners.delete(listener);
  }

  /** The records, for comparing and exchanging them with another member. */
  get records(): Pick<MemberRecords, 'all' | 'digests' | 'inBuckets'> {
    return this.#records;
  }

  /** The operator has configured this peer's address: it may bring any number of members. */
  trust(peer: PeerId): void {
    this.#records.sources.trust(peer);
  }

  #take(record: SignedMember, source: RecordSource): Applied {
    const { peer, sequence } = record.member;
    if (this.#records.has(record)) {
      if (source.by === undefined) this.#records.met(peer);
      return 'same';
    }
    if (peer === this.#self.peer) {
      const isAhead = sequence > this.#self.sequence;
      return isAhead && isGenuineMember(record) ? 'own' : 'old';
    }
    if (!this.#records.isNews(record, source)) return 'old';
    // Before its signature is checked: a flood of made-up members must cost little.
    if (!this.#records.isWelcome(record, source)) return 'refused';
    if (!isGenuineMember(record)) return 'forged';
    const before = this.#records.get(peer)?.member;
    if (!this.#records.put(record, source)) return 'refused';
    // It has sent a newer record since it was found unreachable.
    const isBack = this.#suspicions.reason(peer) === 'unreachable' && this.#suspicions.clear(peer);
    // A mere refresh changes nothing for anybody: with a thousand members there is one every second.
    if (isBack || before === undefined || !saysTheSame(before, record.member)) this.#invalidate();
    return 'news';
  }

  /** Tells listeners of changes by time; to be called about once a second. */
  tick(): void {
    this.live();
    this.#tell();
  }

  #refresh(): void {
    const now = this.#clock.monotonic();
    if (now < this.#deadline) return;
    const expired = this.#records.expire(this.#self.peer);
    for (const { member } of expired) for (const listener of this.#expiryListeners) listener(member);
    this.#deadline = Math.min(this.#suspicions.nextEnd(now), this.#records.nextExpiry(this.#self.peer));
    if (this.#live === undefined) return;
    const live = this.#findLive();
    if (isSamePeers(this.#live, live)) return;
    this.#live = live;
    this.#version += 1;
  }

  #changed(): void {
    this.#invalidate();
    this.#tell();
  }

  #invalidate(): void {
    this.#live = undefined;
    this.#version += 1;
    this.#deadline = -Infinity;
  }

  #tell(): void {
    if (this.#told === this.#version) return;
    this.live(); // so that later ends by time count as changes
    this.#told = this.#version;
    for (const listener of this.#listeners) listener();
  }

  /** Neither leaving nor suspect. */
  #isLive({ leaving, peer }: Member): boolean {
    return !leaving && this.#suspicions.reason(peer) === undefined;
  }

  #findLive(): readonly Member[] {
    const live: Member[] = [];
    for (const { record } of this.#records.all()) {
      const { member } = record;
      if (this.#isLive(member)) live.push(member);
    }
    if (this.#records.get(this.#self.peer) === undefined) live.push(this.#self);
    return live.sort((a, b) => (a.peer < b.peer ? -1 : 1));
  }
}

function isSamePeers(a: readonly Member[], b: readonly Member[]): boolean {
  return a.length === b.length && a.every(({ peer }, i) => peer === b[i]?.peer);
}

function saysTheSame(a: Member, b: Member): boolean {
  return isDeepStrictEqual({ ...a, sequence: b.sequence }, b);
}

function bareMember(peer: PeerId): Member {
  return {
    peer,
    sequence: 0,
    name: '',
    zone: '',
    controlAddresses: [],
    dataAddresses: [],
    fingerprint: new Uint8Array(),
    version: '',
    leaving: false,
  };
}
