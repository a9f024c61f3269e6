/**
 * Hellos, `/weir/hello/1.0`: a node tells another about itself, at once and for certain, and gets the same back. One frame
 * each way, on a stream of its own: the signed record. Gossip brings records to all others.
 */
import type { Connection, Stream } from '@libp2p/interface';
import { toError, WeirError } from '../util/errors.ts';
import { ActiveTimer } from '../util/active-time.ts';
import type { Clock } from '../util/clock.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import { decodeHello, encodeHello } from '../protocol/sync-messages.ts';
import { RECORD_LIMITS, type SignedMember } from '../protocol/signed-record.ts';
import type { Dialer } from './dialer.ts';
import { FrameStream, type OnAborted } from './frame-stream.ts';
import { weirPeerIdOf } from './connection-gater.ts';
import type { RecordIntake } from './record-intake.ts';
import { FIRST_FRAME_TIMEOUT, MAX_HELLOS } from './limits.ts';
import type { Libp2pNode } from './libp2p-node.ts';
import { peerError } from './peer-errors.ts';

export interface HellosOptions {
  readonly libp2p: Libp2pNode;
  readonly dialer: Dialer;
  readonly clock: Clock;
  /** This node's record as it is now. */
  readonly self: () => SignedMember;
  readonly recordIntake: RecordIntake;
  /** A stream that the peer opened was aborted. */
  readonly onAborted: OnAborted;
}

const PROTOCOL = '/weir/hello/1.0';
const MAX_FRAME = RECORD_LIMITS.bytes + 128;

export class Hellos {
  readonly #options: HellosOptions;

  constructor(options: HellosOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    const limits = { maxInboundStreams: MAX_HELLOS, maxOutboundStreams: MAX_HELLOS };
    await this.#options.libp2p.handle(
      PROTOCOL,
      (stream, connection) => this.#accept(stream, connection),
      limits,
    );
  }

  /**
   * Resolves when the peer has confirmed that it knows this node's record.
   * @throws WeirError `peer_unreachable`, `peer_refused`, `peer_cut`, `peer_stalled`, `peer_protocol`; the signal's reason
   */
  async exchange(peer: PeerId, signal: AbortSignal | undefined): Promise<void> {
    const connection = await this.#options.dialer.connect(peer, signal === undefined ? {} : { signal });
    try {
      await this.tell(connection, signal);
    } catch (error) {
      throw peerError(error, `no hello from ${peer}`, 'peer_cut', signal);
    }
  }

  /** The same over a connection that is there. @throws as {@link exchange}; the error of a stream */
  async tell(connection: Connection, signal: AbortSignal | undefined): Promise<void> {
    using time = new ActiveTimer(this.#options.clock, FIRST_FRAME_TIMEOUT, noStream);
    const limit = signal === undefined ? time.signal : AbortSignal.any([signal, time.signal]);
    const stream = await connection.newStream(PROTOCOL, { signal: limit });
    const frames = new FrameStream(stream, MAX_FRAME);
    try {
      frames.send(encodeHello(this.#options.self()));
      const answer = await frames.next(FIRST_FRAME_TIMEOUT, signal);
      if (answer === undefined) throw new WeirError('peer_cut', 'the stream ended before the hello');
      this.#options.recordIntake.hello(decodeHello(answer), connection);
      await frames.end();
    } catch (error) {
      frames.abort(toError(error));
      throw error;
    }
  }

  async #accept(stream: Stream, connection: Connection): Promise<void> {
    const peer = weirPeerIdOf(connection.remotePeer);
    const frames = new FrameStream(stream, MAX_FRAME);
    try {
      const hello = await frames.next(FIRST_FRAME_TIMEOUT);
      if (peer !== undefined && hello !== undefined) {
        this.#options.recordIntake.hello(decodeHello(hello), connection);
        frames.send(encodeHello(this.#options.self()));
      }
      await frames.end();
    } catch (error) {
      frames.abort(toError(error));
      this.#options.onAborted(peer, error);
    }
  }
}

function noStream(limit: string): WeirError {
  return new WeirError('peer_stalled', `it opened no stream within ${limit}`);
}
