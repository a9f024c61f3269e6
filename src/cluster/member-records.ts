/**
 * The newest record of each member, from any source: gossip, a neighbour's snapshot, a hello. Members sign their
 * records, so the order in which records come does not matter: the highest sequence stays.
 */
import { hash } from 'node:crypto';
import { HOUR, MINUTE, type Clock } from '../util/clock.ts';
import { publicKeyOf, type PeerId } from '../protocol/peer-id.ts';
import {
  BUCKET_DIGEST_BYTES,
  BUCKETS,
  MAX_SNAPSHOT_RECORDS,
  type AgedRecord,
} from '../protocol/sync-messages.ts';
import type { SignedMember } from '../protocol/signed-record.ts';
import { addressOf } from '../util/ip-address.ts';
import { RecordSources } from './record-sources.ts';

/** Refreshes come every 10 minutes: two may be lost. */
export const EXPIRY: number = 25 * MINUTE;
/** The largest cluster; about 5 MiB of records. */
export const MAX_MEMBERS = 8192;
/**
 * Milliseconds. A record of an unknown member that is passed on must be younger: a member renews its record six times
 * in that time. The two clocks are compared, so they may differ by as much at most.
 */
const STALE_AFTER = HOUR;
/** A record so near to its expiry is not taken from a snapshot: it would come and go at each sync until all drop it. */
const TOO_OLD = EXPIRY - MINUTE;

/** The way in which a record came. */
export interface RecordSource {
  /** Milliseconds since it was made, as far as the node that passed it on knows. */
  readonly age?: number;
  /**
   * The source: a neighbour's peer ID, or the address from which a member has introduced itself. Undefined if this node
   * has met the member: one dialled the other, at or from an address of the record, and the key was right.
   */
  readonly by?: string | undefined;
  /** The member itself has sent it just now, so its clock does not matter. */
  readonly isFirstHand?: boolean;
}

interface Entry {
  readonly record: SignedMember;
  /** When it was made, on the monotonic clock, from the age that its source told. */
  readonly heard: number;
  /** The first bytes of the record's sha256, for comparing tables. */
  readonly mark: Uint8Array;
  /** Its first source; undefined if this node has met the member. */
  readonly by: string | undefined;
  /** The address at which it is counted. */
  readonly address: string;
}

export class MemberRecords {
  readonly #clock: Clock;
  readonly #sources: RecordSources = new RecordSources();
  readonly #entries: Map<PeerId, Entry> = new Map();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Counts the records by source (record-sources.ts). */
  get sources(): RecordSources {
    return this.#sources;
  }

  /** Whether a member is counted at this address. */
  isAt(host: string): boolean {
    return this.#sources.has(addressOf(host));
  }

  get(peer: PeerId): SignedMember | undefined {
    return this.#entries.get(peer)?.record;
  }

  /** Whether this very record is known. */
  has({ member, encoded, signature }: SignedMember): boolean {
    const known = this.get(member.peer);
    return (
      known?.member.sequence === member.sequence &&
      Buffer.compare(known.encoded, encoded) === 0 &&
      Buffer.compare(known.signature, signature) === 0
    );
  }

  /** Whether this record is newer than the known one, and fresh enough. */
  isNews(
    { member }: SignedMember,
    { age = 0, by, isFirstHand = by === undefined }: RecordSource = {},
  ): boolean {
    if (age >= TOO_OLD) return false;
    const known = this.#entries.get(member.peer)?.record.member;
    if (known !== undefined) return known.sequence < member.sequence;
    // Otherwise a record of a member that left long ago could be passed around for ever.
    return isFirstHand || member.sequence > this.#clock.now() - STALE_AFTER;
  }

  /** Whether the bounds of its source allow it; to be asked before its signature is checked. */
  isWelcome({ member }: SignedMember, { by }: RecordSource = {}): boolean {
    const known = this.#entries.get(member.peer);
    if (known !== undefined) return true;
    return this.#sources.address(member) !== undefined && this.#sources.mayBring(by, this.#entries.size);
  }

  /** @returns whether it was taken: it was news, and there was room */
  put(record: SignedMember, source: RecordSource = {}): boolean {
    if (!this.isNews(record, source)) return false;
    const { peer } = record.member;
    const known = this.#entries.get(peer);
    if (known === undefined && !(this.isWelcome(record, source) && this.#makeRoom(source.by))) return false;
    this.delete(peer);
    const address = this.#sources.address(record.member) ?? known?.address ?? '';
    const isMet = source.by === undefined || (known !== undefined && known.by === undefined);
    const by = isMet ? undefined : (known?.by ?? source.by);
    const mark = hash('sha256', record.encoded, 'buffer').subarray(0, BUCKET_DIGEST_BYTES);
    const heard = this.#clock.monotonic() - (source.age ?? 0);
    this.#entries.set(peer, { record, heard, mark, by, address });
    this.#sources.add(address, by);
    return true;
  }

  /** This node has met the member: its record counts for no source any more. */
  met(peer: PeerId): void {
    const known = this.#entries.get(peer);
    if (known?.by === undefined) return;
    this.#sources.remove(known.address, known.by);
    this.#sources.add(known.address, undefined);
    this.#entries.set(peer, { ...known, by: undefined });
  }

  delete(peer: PeerId): void {
    const known = this.#entries.get(peer);
    if (known === undefined) return;
    this.#entries.delete(peer);
    this.#sources.remove(known.address, known.by);
  }

  /** Drops records that were not renewed; `except` never expires. @returns the dropped ones */
  expire(except: PeerId): readonly SignedMember[] {
    const before = this.#clock.monotonic() - EXPIRY;
    const expired: SignedMember[] = [];
    for (const [peer, { record, heard }] of this.#entries) {
      if (heard <= before && peer !== except) expired.push(record);
    }
    for (const { member } of expired) this.delete(member.peer);
    return expired;
  }

  /** When the next record expires, on the monotonic clock. */
  nextExpiry(except: PeerId): number {
    let next = Infinity;
    for (const [peer, { heard }] of this.#entries) {
      if (peer !== except) next = Math.min(next, heard + EXPIRY);
    }
    return next;
  }

  *all(): Generator<AgedRecord, void> {
    const now = this.#clock.monotonic();
    for (const { record, heard } of this.#entries.values()) yield { record, age: now - heard };
  }

  /** For each bucket the digests of its records, combined by XOR: the order of records does not matter. */
  digests(): Uint8Array {
    const digests = new Uint8Array(BUCKETS * BUCKET_DIGEST_BYTES);
    for (const [peer, { mark }] of this.#entries) {
      const at = bucketOf(peer) * BUCKET_DIGEST_BYTES;
      for (let i = 0; i < BUCKET_DIGEST_BYTES; i += 1) {
        digests[at + i] = (digests[at + i] ?? 0) ^ (mark[i] ?? 0);
      }
    }
    return digests;
  }

  /** The records of the buckets whose bit is set. */
  *inBuckets(bits: Uint8Array): Generator<AgedRecord, void> {
    let count = 0;
    for (const aged of this.all()) {
      if (!isSet(bits, bucketOf(aged.record.member.peer))) continue;
      if (count === MAX_SNAPSHOT_RECORDS) return;
      count += 1;
      yield aged;
    }
  }

  /**
   * Makes room for one more. Of the members that are leaving, the one with the oldest record goes first. Then the
   * source that has brought most members that this node has not met loses the latest one, unless it brings the new
   * one too.
   */
  #makeRoom(by: string | undefined): boolean {
    if (this.#entries.size < MAX_MEMBERS) return true;
    const most = this.#sources.busiest;
    let leaving: PeerId | undefined;
    let heardOldest = Infinity;
    let latest: PeerId | undefined;
    for (const [peer, { record, heard, by: broughtBy }] of this.#entries) {
      if (broughtBy !== undefined && broughtBy === most) latest = peer;
      if (!record.member.leaving || heard >= heardOldest) continue;
      leaving = peer;
      heardOldest = heard;
    }
    const dropped = leaving ?? (most === by ? undefined : latest);
    if (dropped === undefined) return false;
    this.delete(dropped);
    return true;
  }
}

/** One bit for each bucket in which the two tables differ, the first in the highest bit of the first byte. */
export function differingBuckets(mine: Uint8Array, theirs: Uint8Array): Uint8Array {
  const bits = new Uint8Array(BUCKETS / 8);
  for (let bucket = 0; bucket < BUCKETS; bucket += 1) {
    const at = bucket * BUCKET_DIGEST_BYTES;
    const isSame = Buffer.compare(
      mine.subarray(at, at + BUCKET_DIGEST_BYTES),
      theirs.subarray(at, at + BUCKET_DIGEST_BYTES),
    );
    if (isSame !== 0) bits[bucket >> 3] = (bits[bucket >> 3] ?? 0) | (0x80 >> (bucket & 7));
  }
  return bits;
}

/** The first bits of the key: it is random. */
export function bucketOf(peer: PeerId): number {
  return (publicKeyOf(peer)[0] ?? 0) % BUCKETS;
}

function isSet(bits: Uint8Array, bucket: number): boolean {
  return ((bits[bucket >> 3] ?? 0) & (0x80 >> (bucket & 7))) !== 0;
}
