/**
 * Member sync, `/weir/members/1.0`: two neighbours make their tables equal. The opener sends its record and a digest
 * for each of 64 buckets of members. The other side answers with its record, the list of differing buckets, and its
 * records in these. The opener sends back the records that the other side lacks. For a node that has just started all
 * buckets differ: this is its snapshot.
 */
import type { Connection, Stream } from '@libp2p/interface';
import { toError, WeirError } from '../util/errors.ts';
import { differingBuckets } from '../cluster/member-records.ts';
import type { MemberTable } from '../cluster/member-table.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import {
  decodeSyncHead,
  decodePage,
  encodeSyncHead,
  encodePages,
  MAX_SNAPSHOT_RECORDS,
  type AgedRecord,
} from '../protocol/sync-messages.ts';
import type { SignedMember } from '../protocol/signed-record.ts';
import { FrameStream, type OnAborted } from './frame-stream.ts';
import { weirPeerIdOf } from './connection-gater.ts';
import type { RecordIntake } from './record-intake.ts';
import { SYNC_TIMEOUT, FIRST_FRAME_TIMEOUT, MAX_SYNC_BYTES, MAX_SYNCS } from './limits.ts';
import type { Libp2pNode } from './libp2p-node.ts';
import { peerError } from './peer-errors.ts';

export const MEMBERS_PROTOCOL = '/weir/members/1.0';
const NONE: Uint8Array = new Uint8Array();

export class MemberSync {
  readonly #libp2p: Libp2pNode;
  readonly #table: MemberTable;
  readonly #recordIntake: RecordIntake;
  readonly #self: () => SignedMember;
  readonly #onAborted: OnAborted;
  #running = 0;

  constructor(
    libp2p: Libp2pNode,
    table: MemberTable,
    recordIntake: RecordIntake,
    self: () => SignedMember,
    onAborted: OnAborted,
  ) {
    this.#libp2p = libp2p;
    this.#table = table;
    this.#recordIntake = recordIntake;
    this.#self = self;
    this.#onAborted = onAborted;
  }

  async start(): Promise<void> {
    await this.#libp2p.handle(MEMBERS_PROTOCOL, (stream, connection) => this.#accept(stream, connection), {
      maxInboundStreams: 1,
      maxOutboundStreams: 2,
    });
  }

  /** @throws WeirError `peer_*`; the signal's reason */
  async run(connection: Connection, signal: AbortSignal): Promise<void> {
    const limit = AbortSignal.any([signal, AbortSignal.timeout(SYNC_TIMEOUT)]);
    try {
      const frames = new FrameStream(await connection.newStream(MEMBERS_PROTOCOL, { signal: limit }));
      await closing(frames, () => this.#ask(frames, connection, limit));
    } catch (error) {
      throw peerError(error, 'member sync', 'peer_cut', signal);
    }
  }

  async #ask(frames: FrameStream, connection: Connection, signal: AbortSignal): Promise<void> {
    const digests = this.#table.records.digests();
    frames.send(encodeSyncHead({ self: this.#self(), digests, differing: NONE }));
    const head = decodeSyncHead(await theNext(frames, signal), 'answer');
    this.#recordIntake.hello(head.self, connection);
    // Listed before their records are applied, or all of those would be sent back.
    const mine = [...this.#table.records.inBuckets(head.differing)];
    const theirs = await this.#takePages(frames, weirPeerIdOf(connection.remotePeer), signal);
    const news = mine.filter(({ record: { member } }) => (theirs.get(member.peer) ?? -1) < member.sequence);
    await sendPages(frames, news, signal);
  }

  async #accept(stream: Stream, connection: Connection): Promise<void> {
    const frames = new FrameStream(stream);
    const peer = weirPeerIdOf(connection.remotePeer);
    if (this.#running >= MAX_SYNCS) {
      frames.abort(new WeirError('too_many_requests', 'too many member syncs'));
      return;
    }
    this.#running += 1;
    try {
      const signal = AbortSignal.timeout(SYNC_TIMEOUT);
      await closing(frames, () => this.#answer(frames, connection, signal));
    } catch (error) {
      this.#onAborted(peer, error);
    } finally {
      this.#running -= 1;
    }
  }

  async #answer(frames: FrameStream, connection: Connection, signal: AbortSignal): Promise<void> {
    const head = decodeSyncHead(await theNext(frames, signal), 'question');
    this.#recordIntake.hello(head.self, connection);
    const differing = differingBuckets(this.#table.records.digests(), head.digests);
    frames.send(encodeSyncHead({ self: this.#self(), digests: NONE, differing }));
    await sendPages(frames, this.#table.records.inBuckets(differing), signal);
    await this.#takePages(frames, weirPeerIdOf(connection.remotePeer), signal);
  }

  /** @returns the sequence of each record received */
  async #takePages(
    frames: FrameStream,
    from: PeerId | undefined,
    signal: AbortSignal,
  ): Promise<ReadonlyMap<PeerId, number>> {
    const sequences = new Map<PeerId, number>();
    let bytes = 0;
    for (;;) {
      const frame = await theNext(frames, signal);
      bytes += frame.length;
      const { records, last } = decodePage(frame);
      for (const { record } of records) sequences.set(record.member.peer, record.member.sequence);
      if (bytes > MAX_SYNC_BYTES || sequences.size > MAX_SNAPSHOT_RECORDS) {
        throw new WeirError('peer_protocol', 'a snapshot that is too large');
      }
      this.#recordIntake.page(records, from);
      if (last) return sequences;
    }
  }
}

async function theNext(frames: FrameStream, signal: AbortSignal): Promise<Uint8Array> {
  const frame = await frames.next(FIRST_FRAME_TIMEOUT, signal);
  if (frame === undefined) throw new WeirError('peer_cut', 'the stream ended too early');
  return frame;
}

async function sendPages(
  frames: FrameStream,
  records: Iterable<AgedRecord>,
  signal: AbortSignal,
): Promise<void> {
  for (const page of encodePages(records)) {
    if (!frames.send(page)) await frames.stream.onDrain({ signal });
  }
}

async function closing(frames: FrameStream, work: () => Promise<void>): Promise<void> {
  try {
    await work();
    await frames.end();
  } catch (error) {
    frames.abort(toError(error));
    throw error;
  }
}
