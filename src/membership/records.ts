/**
 * The newest record of each member, however it came: gossip, a neighbour's snapshot, a hello. Records are facts that
 * their members signed, so the order in which they come does not matter: the highest sequence stays.
 */
import { hash } from 'node:crypto';
import { MINUTE, type Clock } from '../clock.ts';
import { publicKeyOf, type PeerName } from '../peer/peer-name.ts';
import { BUCKET_DIGEST_BYTES, BUCKETS, MAX_SNAPSHOT_RECORDS, type AgedRecord } from '../wire/exchange.ts';
import type { SignedMember } from '../wire/records.ts';

/** Refreshes come every 10 minutes: two may be lost. */
export const EXPIRY: number = 25 * MINUTE;
/** The largest cluster; about 5 MiB of records. */
export const MAX_MEMBERS = 8192;
/** A record so near to its end is not taken from a snapshot: it would come and go at each exchange until all let it go. */
const TOO_OLD: number = EXPIRY - MINUTE;

interface Entry {
  readonly record: SignedMember;
  /** When it came up, on the monotonic clock; what others said about its age counts. */
  readonly heard: number;
  /** The first bytes of the record's sha256, for comparing tables. */
  readonly mark: Uint8Array;
}

export class Records {
  readonly #clock: Clock;
  readonly #entries: Map<PeerName, Entry> = new Map();
  /** Which member says that it serves with this certificate; the first one that said it. */
  readonly #byFingerprint: Map<string, PeerName> = new Map();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get size(): number {
    return this.#entries.size;
  }

  get(peer: PeerName): SignedMember | undefined {
    return this.#entries.get(peer)?.record;
  }

  byFingerprint(fingerprint: Uint8Array): SignedMember | undefined {
    const peer = this.#byFingerprint.get(keyOf(fingerprint));
    return peer === undefined ? undefined : this.get(peer);
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

  /** Whether this record says something that is not known yet. */
  isNews({ member }: SignedMember, age = 0): boolean {
    const known = this.#entries.get(member.peer)?.record.member;
    return age < TOO_OLD && (known === undefined || known.sequence < member.sequence);
  }

  /** @returns whether it was taken: it was news, and there was room */
  put(record: SignedMember, age = 0): boolean {
    if (!this.isNews(record, age)) return false;
    const { peer, fingerprint } = record.member;
    if (!this.#entries.has(peer) && !this.#makeRoom()) return false;
    this.delete(peer);
    const mark = hash('sha256', record.encoded, 'buffer').subarray(0, BUCKET_DIGEST_BYTES);
    this.#entries.set(peer, { record, heard: this.#clock.monotonic() - age, mark });
    const key = keyOf(fingerprint);
    // The first one keeps it: another that copies the fingerprint must not pass for the certificate's owner.
    if (fingerprint.length > 0 && !this.#byFingerprint.has(key)) this.#byFingerprint.set(key, peer);
    return true;
  }

  delete(peer: PeerName): void {
    const known = this.#entries.get(peer)?.record.member;
    if (known === undefined) return;
    this.#entries.delete(peer);
    const key = keyOf(known.fingerprint);
    if (this.#byFingerprint.get(key) === peer) this.#byFingerprint.delete(key);
  }

  /** Drops what nobody has renewed; `except` never expires. @returns those that were dropped */
  expire(except: PeerName): readonly SignedMember[] {
    const before = this.#clock.monotonic() - EXPIRY;
    const expired: SignedMember[] = [];
    for (const [peer, { record, heard }] of this.#entries) {
      if (heard <= before && peer !== except) expired.push(record);
    }
    for (const { member } of expired) this.delete(member.peer);
    return expired;
  }

  /** The first moment at which one expires, on the monotonic clock. */
  nextExpiry(except: PeerName): number {
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

  /** Room for one more: of those who are leaving, the one that was heard of longest ago goes first. */
  #makeRoom(): boolean {
    if (this.#entries.size < MAX_MEMBERS) return true;
    let oldest: PeerName | undefined;
    let heardOldest = Infinity;
    for (const [peer, { record, heard }] of this.#entries) {
      if (!record.member.leaving || heard >= heardOldest) continue;
      oldest = peer;
      heardOldest = heard;
    }
    if (oldest === undefined) return false;
    this.delete(oldest);
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
export function bucketOf(peer: PeerName): number {
  return (publicKeyOf(peer)[0] ?? 0) % BUCKETS;
}

function isSet(bits: Uint8Array, bucket: number): boolean {
  return ((bits[bucket >> 3] ?? 0) & (0x80 >> (bucket & 7))) !== 0;
}

function keyOf(fingerprint: Uint8Array): string {
  return Buffer.from(fingerprint.buffer, fingerprint.byteOffset, fingerprint.byteLength).toString('latin1');
}
