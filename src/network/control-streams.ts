/**
 * Control streams, `/weir/swarm/<version>`. Each side opens one to the other, so that neither waits for its turn. The
 * opener sends a hello, which is its signed record, and the other side answers with its own. After that only the
 * opener sends.
 */
import type { Connection, Stream } from '@libp2p/interface';
import type { Clock } from '../util/clock.ts';
import { toError, WeirError } from '../util/errors.ts';
import { ActiveTimer } from '../util/active-time.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import type { SwarmMessage } from '../protocol/messages.ts';
import { decodeSwarmMessage, MAX_MESSAGE_BYTES, type SwarmVersion } from '../protocol/codec.ts';
import { decodeHello, encodeHello } from '../protocol/sync-messages.ts';
import { RECORD_LIMITS, type SignedMember } from '../protocol/signed-record.ts';
import { ControlStream, type OpenedStream } from './control-stream.ts';
import type { Dialer } from './dialer.ts';
import { FrameStream, type OnAborted } from './frame-stream.ts';
import { weirPeerIdOf } from './connection-gater.ts';
import type { RecordIntake } from './record-intake.ts';
import { FIRST_FRAME_TIMEOUT, MAX_OPEN_CONTROL_STREAMS, MAX_CONTROL_STREAMS } from './limits.ts';
import type { Libp2pNode } from './libp2p-node.ts';
import { peerError } from './peer-errors.ts';

export interface ControlStreamsOptions {
  readonly libp2p: Libp2pNode;
  readonly dialer: Dialer;
  readonly clock: Clock;
  /** Newest first. */
  readonly versions: readonly SwarmVersion[];
  /** This node's record as it is now. */
  readonly self: () => SignedMember;
  readonly recordIntake: RecordIntake;
  readonly onMessage: (peer: PeerId, message: SwarmMessage) => void;
  readonly onFailed: (peer: PeerId, error: unknown) => void;
  /** A stream that the peer opened was aborted. */
  readonly onAborted: OnAborted;
}

const PREFIX = '/weir/swarm/';
const MAX_FRAME = Math.max(MAX_MESSAGE_BYTES, RECORD_LIMITS.bytes + 128);

export class ControlStreams {
  readonly #options: ControlStreamsOptions;
  readonly #controlStreams: Map<PeerId, ControlStream> = new Map();
  readonly #protocols: readonly string[];

  constructor(options: ControlStreamsOptions) {
    this.#options = options;
    this.#protocols = options.versions.map((version) => PREFIX + version);
  }

  async start(): Promise<void> {
    await this.#options.libp2p.handle(
      [...this.#protocols],
      (stream, connection) => this.#accept(stream, connection),
      {
        maxInboundStreams: MAX_CONTROL_STREAMS,
        maxOutboundStreams: MAX_CONTROL_STREAMS,
      },
    );
  }

  send(peer: PeerId, message: SwarmMessage): void {
    this.#controlStream(peer).send(message);
  }

  /** Whether there is a control stream to this peer, or one is being opened. */
  has(peer: PeerId): boolean {
    return this.#controlStreams.has(peer);
  }

  ready(peer: PeerId, signal: AbortSignal | undefined): Promise<void> {
    return this.#controlStream(peer).ready(signal);
  }

  /** Whether a control stream in either direction is open on the connection. */
  isUsed(connection: Connection): boolean {
    return connection.streams.some(({ protocol }) => protocol.startsWith(PREFIX));
  }

  /** Closes idle streams. */
  sweep(): void {
    for (const [peer, controlStream] of this.#controlStreams) {
      if (!controlStream.isIdle) continue;
      this.#controlStreams.delete(peer);
      void controlStream.close();
    }
  }

  /** Sends a new hello on a stream of its own: for news about this node that must arrive now. */
  async tell(connection: Connection, signal: AbortSignal): Promise<void> {
    const opened = await this.#hello(connection, signal);
    await opened.frames.end();
  }

  /** Closes the stream to this peer and drops its messages. */
  drop(peer: PeerId, reason: Error): void {
    this.#controlStreams.get(peer)?.destroy(reason);
    this.#controlStreams.delete(peer);
  }

  /** Closes all streams without losing a message. The next message opens a stream again, with a new hello. */
  async reopen(): Promise<void> {
    await Promise.all([...this.#controlStreams.values()].map((controlStream) => controlStream.close()));
  }

  stop(): void {
    for (const peer of this.#controlStreams.keys())
      this.drop(peer, new WeirError('aborted', 'the node stops'));
  }

  #controlStream(peer: PeerId): ControlStream {
    let controlStream = this.#controlStreams.get(peer);
    if (controlStream === undefined) {
      this.#makeRoom();
      controlStream = new ControlStream(peer, {
        open: (to, signal) => this.#open(to, signal),
        failed: (of, error) => this.#options.onFailed(of, error),
        now: () => this.#options.clock.monotonic(),
      });
      this.#controlStreams.set(peer, controlStream);
    }
    return controlStream;
  }

  #makeRoom(): void {
    if (this.#controlStreams.size < MAX_OPEN_CONTROL_STREAMS) return;
    const [oldest] = this.#controlStreams.keys();
    if (oldest !== undefined) this.drop(oldest, new WeirError('peer_cut', 'too many control streams'));
  }

  async #open(peer: PeerId, signal: AbortSignal): Promise<OpenedStream> {
    const connection = await this.#options.dialer.connect(peer, { signal });
    try {
      return await this.#hello(connection, signal);
    } catch (error) {
      throw peerError(error, `no control stream to ${peer}`, 'peer_cut', signal);
    }
  }

  async #hello(connection: Connection, signal: AbortSignal): Promise<OpenedStream> {
    using time = new ActiveTimer(this.#options.clock, FIRST_FRAME_TIMEOUT, noStream);
    const limit = AbortSignal.any([signal, time.signal]);
    const stream = await connection.newStream([...this.#protocols], { signal: limit });
    const frames = new FrameStream(stream, MAX_FRAME);
    try {
      frames.send(encodeHello(this.#options.self()));
      const answer = await frames.next(FIRST_FRAME_TIMEOUT, signal);
      if (answer === undefined) throw new WeirError('peer_cut', 'the stream ended before the hello');
      this.#options.recordIntake.hello(decodeHello(answer), connection);
      return { frames, version: versionOf(stream) };
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
        await this.#listen(frames, peer);
      }
      await frames.end();
    } catch (error) {
      frames.abort(toError(error));
      this.#options.onAborted(peer, error);
    }
  }

  async #listen(frames: FrameStream, peer: PeerId): Promise<void> {
    const version = versionOf(frames.stream);
    for (;;) {
      const frame = await frames.next(undefined);
      if (frame === undefined) return;
      const message = decodeSwarmMessage(frame, version);
      if (message !== undefined) this.#options.onMessage(peer, message);
    }
  }
}

function noStream(limit: string): WeirError {
  return new WeirError('peer_stalled', `it opened no stream within ${limit}`);
}

function versionOf(stream: Stream): SwarmVersion {
  return stream.protocol.slice(PREFIX.length) as SwarmVersion;
}
