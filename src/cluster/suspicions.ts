/**
 * What is held against peers: suspicions, which end by themselves and last longer each time, and bans.
 *
 * Both are this node's own and are not told to others: a peer that lies about bytes would lie about peers too.
 */
import { HOUR, MINUTE, SECOND, type Clock } from '../util/clock.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import type { Suspect, SuspicionReason } from './membership.ts';

/** Short: one lost packet must not cost a member its share of the work. */
const FIRST_SUSPICION = SECOND;
/** A member that is gone is tried once a minute; one that comes back waits no longer than that. */
const LONGEST_SUSPICION = MINUTE;
/** After this time without trouble the next suspicion lasts the shortest time again. */
const FORGIVEN_AFTER = 10 * MINUTE;
const BAN_TIME = HOUR;
/** Peers with an entry. Peer IDs cost nothing, so entries must not fill the memory. */
const MAX_SUSPECTS = 8192;
/** The last moment that a Date can hold, as the end of a ban without end. */
const NEVER = 8_640_000_000_000_000;

interface Entry {
  reason: SuspicionReason;
  /** Suspicions in a row, for the length of the next one. */
  count: number;
  /** Milliseconds on the monotonic clock. */
  counted: number;
  until: number;
  banned: boolean;
}

/** Times are milliseconds, kept on the monotonic clock: a step of the wall clock ends no suspicion. */
export class Suspicions {
  readonly #clock: Clock;
  #forever: ReadonlySet<PeerId>;
  /** Oldest trouble first. */
  readonly #entries: Map<PeerId, Entry> = new Map();

  /** @param forever banned by the configuration */
  constructor(clock: Clock, forever: Iterable<PeerId> = []) {
    this.#clock = clock;
    this.#forever = new Set(forever);
  }

  /** Bans these by the configuration, and no others. @returns those that were not banned before */
  banForever(peers: Iterable<PeerId>): readonly PeerId[] {
    const next = new Set(peers);
    const added = [...next].filter((peer) => !this.isBanned(peer));
    this.#forever = next;
    return added;
  }

  isBanned(peer: PeerId): boolean {
    if (this.#forever.has(peer)) return true;
    const entry = this.#entries.get(peer);
    return entry !== undefined && entry.banned && entry.until > this.#clock.monotonic();
  }

  /** Why nothing is asked of this peer at present; undefined if nothing is held against it. */
  reason(peer: PeerId): SuspicionReason | undefined {
    if (this.#forever.has(peer)) return 'protocol';
    const entry = this.#entries.get(peer);
    return entry !== undefined && entry.until > this.#clock.monotonic() ? entry.reason : undefined;
  }

  /** Suspicions in a row; 0 if none is remembered. */
  count(peer: PeerId): number {
    return this.#entries.get(peer)?.count ?? 0;
  }

  suspect(peer: PeerId, reason: SuspicionReason): void {
    const now = this.#clock.monotonic();
    const known = this.#entries.get(peer);
    if (this.#forever.has(peer) || (known?.banned === true && known.until > now)) return;
    // Several requests that fail together are one failure.
    if (known !== undefined && !known.banned && now - known.counted < FIRST_SUSPICION) return;
    const isRepeated = known !== undefined && !known.banned && now - known.until < FORGIVEN_AFTER;
    const count = isRepeated ? known.count + 1 : 1;
    const time = Math.min(FIRST_SUSPICION * 2 ** (count - 1), LONGEST_SUSPICION);
    this.#put(peer, { reason, count, counted: now, until: now + time, banned: false });
  }

  /** A suspicion that would end sooner lasts for `ms` from now; it does not count as another one. */
  prolong(peer: PeerId, ms: number): void {
    const now = this.#clock.monotonic();
    const entry = this.#entries.get(peer);
    if (entry !== undefined && !entry.banned && entry.until > now)
      entry.until = Math.max(entry.until, now + ms);
  }

  ban(peer: PeerId, reason: SuspicionReason): void {
    const now = this.#clock.monotonic();
    this.#put(peer, { reason, count: 0, counted: now, until: now + BAN_TIME, banned: true });
  }

  /** @returns whether anything was held against it */
  clear(peer: PeerId): boolean {
    const entry = this.#entries.get(peer);
    if (entry === undefined || (entry.banned && entry.until > this.#clock.monotonic())) return false;
    this.#entries.delete(peer);
    return entry.until > this.#clock.monotonic();
  }

  /** The first end of a suspicion or ban after `now`, on the monotonic clock; Infinity if there is none. */
  nextEnd(now: number): number {
    let next = Infinity;
    for (const { until } of this.#entries.values()) if (until > now && until < next) next = until;
    return next;
  }

  list(): readonly Suspect[] {
    const now = this.#clock.monotonic();
    const wall = this.#clock.now();
    const suspects: Suspect[] = [];
    for (const peer of this.#forever) suspects.push({ peer, reason: 'protocol', until: NEVER, banned: true });
    for (const [peer, { reason, until, banned }] of this.#entries) {
      if (until > now) suspects.push({ peer, reason, until: Math.round(wall + until - now), banned });
    }
    return suspects;
  }

  #put(peer: PeerId, entry: Entry): void {
    this.#entries.delete(peer);
    this.#entries.set(peer, entry);
    if (this.#entries.size <= MAX_SUSPECTS) return;
    // Bans outlive suspicions: a flood of new peer IDs must not free a liar.
    for (const [oldest, { banned }] of this.#entries) {
      if (banned) continue;
      this.#entries.delete(oldest);
      return;
    }
    this.#entries.delete(this.#entries.keys().next().value ?? peer);
  }
}
