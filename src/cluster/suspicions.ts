/**
 * What is held against peers: suspicions, which end by themselves and last longer each time, and bans.
 *
 * Both are this node's own: they are not told to others, because who lies about bytes would lie about peers too.
 */
import { HOUR, MINUTE, SECOND, type Clock } from '../util/clock.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import type { Suspect, SuspicionReason } from './membership.ts';

/** Short: one lost packet must not cost a member its share of the work. */
const FIRST_SUSPICION = SECOND;
/** A member that is gone is tried once a minute, and one that comes back is not kept waiting for longer. */
const LONGEST_SUSPICION = MINUTE;
/** After so long without trouble a suspicion begins anew with the shortest time. */
const FORGIVEN_AFTER = 10 * MINUTE;
const BAN_TIME = HOUR;
/** Peers against whom something is held; names cost a peer nothing, so they may not fill the memory. */
const MAX_SUSPECTS = 8192;
/** The last moment that a Date can hold: a ban that does not end. */
const NEVER = 8_640_000_000_000_000;

interface Entry {
  reason: SuspicionReason;
  /** How often in a row, for the length of the next one. */
  count: number;
  /** Milliseconds on the monotonic clock. */
  counted: number;
  until: number;
  banned: boolean;
}

/** Times in and out are milliseconds; inside, those of the monotonic clock: a step of the wall clock frees nobody. */
export class Suspicions {
  readonly #clock: Clock;
  readonly #forever: ReadonlySet<PeerId>;
  /** Oldest trouble first. */
  readonly #entries: Map<PeerId, Entry> = new Map();

  /** @param forever banned by the configuration */
  constructor(clock: Clock, forever: Iterable<PeerId> = []) {
    this.#clock = clock;
    this.#forever = new Set(forever);
  }

  isBanned(peer: PeerId): boolean {
    if (this.#forever.has(peer)) return true;
    const entry = this.#entries.get(peer);
    return entry !== undefined && entry.banned && entry.until > this.#clock.monotonic();
  }

  /** Why nothing is asked of this peer at present; undefined where nothing is held against it. */
  reason(peer: PeerId): SuspicionReason | undefined {
    if (this.#forever.has(peer)) return 'protocol';
    const entry = this.#entries.get(peer);
    return entry !== undefined && entry.until > this.#clock.monotonic() ? entry.reason : undefined;
  }

  /** How often in a row it has been suspected; 0 where nothing is remembered. */
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

  /** A suspicion that would end sooner lasts for `ms` from now; it counts as no further one. */
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

  /** The first moment after `now`, on the monotonic clock, at which something ends; Infinity where nothing does. */
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
    // Bans outlive suspicions here: a flood of new names must not free who lied.
    for (const [oldest, { banned }] of this.#entries) {
      if (banned) continue;
      this.#entries.delete(oldest);
      return;
    }
    this.#entries.delete(this.#entries.keys().next().value ?? peer);
  }
}
