/**
 * Messages about members: the hello of a node to another one, member sync between two neighbours, and the records
 * on the gossip topic. docs/protocol.md says when each is sent.
 */
import { create, toBinary } from '@bufbuild/protobuf';
import { KIB, SECOND } from '../util/clock.ts';
import { atMost, bytesOf, parse, protocolError } from './fields.ts';
import { MAX_FRAME_BYTES } from './frames.ts';
import { memberOf, recordOf, type SignedMember } from './signed-record.ts';
import { SyncHeadSchema, GossipSchema, HelloSchema, RecordPageSchema } from './weir_pb.ts';

/** Tables are compared in so many groups: if they differ in a few records, only a few groups are sent. */
export const BUCKETS = 64;
/** Bytes of a bucket's digest: two different tables look alike once in 2^64 comparisons, until the next change. */
export const BUCKET_DIGEST_BYTES = 8;
/** Records that one side sends: as many as the largest cluster has members. */
export const MAX_SNAPSHOT_RECORDS = 8192;
/** Records in one frame of 64 KiB; each has at least a key, a sequence and a signature. */
const MAX_PAGE_RECORDS = 512;
/** Bytes that the encoding adds per record: tags, lengths, age. */
const RECORD_OVERHEAD = 20;
/** Bytes of one gossip message: every member gets each, so they are small. */
export const MAX_GOSSIP_BYTES: number = 8 * KIB;

export interface SyncHead {
  readonly self: SignedMember;
  /** BUCKETS digests in a row; empty in the answer. */
  readonly digests: Uint8Array;
  /** BUCKETS bits, set for buckets that differ; empty in the question. */
  readonly differing: Uint8Array;
}

/** A record and its age, so that a record that nobody renews expires everywhere at the same time. */
export interface AgedRecord {
  readonly record: SignedMember;
  /** Milliseconds since it first appeared, as far as the sender knows; whole seconds on the wire. */
  readonly age: number;
}

export interface RecordPage {
  readonly records: readonly AgedRecord[];
  readonly last: boolean;
}

export function encodeHello(self: SignedMember): Uint8Array {
  return toBinary(HelloSchema, create(HelloSchema, { record: recordOf(self) }));
}

/** @throws WeirError `peer_protocol` */
export function decodeHello(bytes: Uint8Array): SignedMember {
  return memberOf(parse(HelloSchema, bytes).record);
}

export function encodeSyncHead({ self, digests, differing }: SyncHead): Uint8Array {
  const head = create(SyncHeadSchema, { record: recordOf(self), digests, differing });
  return toBinary(SyncHeadSchema, head);
}

/** @throws WeirError `peer_protocol` */
export function decodeSyncHead(bytes: Uint8Array, kind: 'question' | 'answer'): SyncHead {
  const head = parse(SyncHeadSchema, bytes);
  return {
    self: memberOf(head.record),
    digests: bytesOf('digests', head.digests, kind === 'question' ? BUCKETS * BUCKET_DIGEST_BYTES : 0),
    differing: bytesOf('differing', head.differing, kind === 'answer' ? BUCKETS / 8 : 0),
  };
}

/** The records in frames of at most 64 KiB. There is at least one frame: the last one is marked as the last. */
export function* encodePages(records: Iterable<AgedRecord>): Generator<Uint8Array, void> {
  let page: AgedRecord[] = [];
  let bytes = 0;
  for (const aged of records) {
    const size = aged.record.encoded.length + aged.record.signature.length + RECORD_OVERHEAD;
    if (page.length === MAX_PAGE_RECORDS || bytes + size > MAX_FRAME_BYTES - RECORD_OVERHEAD) {
      yield encodePage({ records: page, last: false });
      page = [];
      bytes = 0;
    }
    page.push(aged);
    bytes += size;
  }
  yield encodePage({ records: page, last: true });
}

function encodePage({ records, last }: RecordPage): Uint8Array {
  const page = create(RecordPageSchema, {
    records: records.map(({ record }) => recordOf(record)),
    ages: records.map(({ age }) => Math.max(0, Math.round(age / SECOND))),
    last,
  });
  return toBinary(RecordPageSchema, page);
}

/** @throws WeirError `peer_protocol` */
export function decodePage(bytes: Uint8Array): RecordPage {
  const { records, ages, last } = parse(RecordPageSchema, bytes);
  const read = atMost('records', records, MAX_PAGE_RECORDS).map((record, i) => ({
    record: memberOf(record),
    age: (ages[i] ?? 0) * SECOND,
  }));
  return { records: read, last };
}

export function encodeGossip(member: SignedMember): Uint8Array {
  return toBinary(GossipSchema, create(GossipSchema, { body: { case: 'member', value: recordOf(member) } }));
}

/** @returns undefined for an unknown kind @throws WeirError `peer_protocol` */
export function decodeGossip(bytes: Uint8Array): SignedMember | undefined {
  if (bytes.length > MAX_GOSSIP_BYTES) throw protocolError('a gossip message that is too long');
  const { body } = parse(GossipSchema, bytes);
  return body.case === 'member' ? memberOf(body.value) : undefined;
}
