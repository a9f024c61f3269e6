/**
 * The members of the cluster, as one simulated node sees them. All nodes share one list; it loses dead nodes and gains
 * newcomers after a delay, and until then a newcomer knows no other node. Each node leaves out its own suspects. The
 * daemon's member tables would be N² records.
 */
import { SECOND } from '../../src/util/clock.ts';
import type { Membership } from '../../src/cluster/membership.ts';
import type { Member } from '../../src/protocol/member.ts';
import type { PeerId } from '../../src/protocol/peer-id.ts';
import type { VirtualTime } from './virtual-time.ts';

/** Milliseconds of a first suspicion; doubled each time (cluster/suspicions.ts). */
const SUSPECTED = 1 * SECOND;
const MAX_SUSPECTED = 60 * SECOND;

/** The list that all nodes share. */
export class Roster {
  readonly #byName: Map<PeerId, Member> = new Map();
  readonly #views: Map<PeerId, View> = new Map();
  #live: readonly Member[];

  constructor(members: readonly Member[]) {
    this.#live = members.toSorted((a, b) => (a.peer < b.peer ? -1 : 1));
    for (const member of members) this.#byName.set(member.peer, member);
  }

  get live(): readonly Member[] {
    return this.#live;
  }

  get(peer: PeerId): Member | undefined {
    return this.#byName.get(peer);
  }

  /** All nodes learn of them, and they of all. */
  add(member: Member): void {
    if (this.#byName.has(member.peer)) return;
    this.#byName.set(member.peer, member);
    const at = this.#live.findIndex(({ peer }) => peer > member.peer);
    this.#live = at === -1 ? [...this.#live, member] : this.#live.toSpliced(at, 0, member);
    for (const view of this.#views.values()) view.changed();
  }

  /** A node that comes back has a new membership. */
  view(self: Member, time: VirtualTime): Membership {
    const view = new View(self, this, time);
    this.#views.set(self.peer, view);
    return view;
  }

  /** All nodes learn that they are gone. */
  remove(peers: ReadonlySet<PeerId>): void {
    this.#live = this.#live.filter(({ peer }) => !peers.has(peer));
    for (const peer of peers) this.#byName.delete(peer);
    for (const view of this.#views.values()) view.changed();
  }
}

class View implements Membership {
  readonly self: Member;
  readonly #roster: Roster;
  readonly #time: VirtualTime;
  readonly #suspects: Set<PeerId> = new Set();
  readonly #times: Map<PeerId, number> = new Map();
  readonly #banned: Set<PeerId> = new Set();
  readonly #listeners: Set<() => void> = new Set();
  /** The members that it knows before it is in the list. */
  readonly #alone: readonly Member[];
  #live: readonly Member[] | undefined;
  /** Whether it is in the list itself. */
  #isKnown: boolean;
  version = 0;

  constructor(self: Member, roster: Roster, time: VirtualTime) {
    this.self = self;
    this.#alone = [self];
    this.#roster = roster;
    this.#time = time;
    this.#isKnown = roster.get(self.peer) !== undefined;
  }

  live(): readonly Member[] {
    if (!this.#isKnown) return this.#alone;
    const all = this.#roster.live;
    if (this.#suspects.size === 0) return all;
    this.#live ??= all.filter(({ peer }) => !this.#suspects.has(peer));
    return this.#live;
  }

  isLive(peer: PeerId): boolean {
    if (!this.#isKnown) return peer === this.self.peer;
    return this.#roster.get(peer) !== undefined && !this.#suspects.has(peer);
  }

  get(peer: PeerId): Member | undefined {
    return this.#roster.get(peer);
  }

  names(): boolean {
    return false;
  }

  suspect(peer: PeerId): void {
    if (this.#suspects.has(peer)) return;
    const times = this.#times.get(peer) ?? 0;
    this.#times.set(peer, times + 1);
    this.#suspects.add(peer);
    this.#time.after(Math.min(MAX_SUSPECTED, SUSPECTED * 2 ** times), () => {
      if (!this.#banned.has(peer) && this.#suspects.delete(peer)) this.changed();
    });
    this.changed();
  }

  clear(peer: PeerId): void {
    this.#times.delete(peer);
    if (!this.#banned.has(peer) && this.#suspects.delete(peer)) this.changed();
  }

  ban(peer: PeerId): void {
    this.#banned.add(peer);
    this.#suspects.add(peer);
    this.changed();
  }

  isBanned(peer: PeerId): boolean {
    return this.#banned.has(peer);
  }

  suspects(): [] {
    return [];
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  changed(): void {
    this.version++;
    this.#live = undefined;
    this.#isKnown = this.#roster.get(this.self.peer) !== undefined;
    for (const listener of this.#listeners) listener();
  }
}
