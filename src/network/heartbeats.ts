/**
 * Whether whoever is at the other end of a connection is still there. A connection over which nothing has come for a
 * while is asked with a ping of yamux, one frame each way; whatever comes is an answer. The side that was dialled waits
 * longer, so that one of the two asks. libp2p's own monitor opens a stream for each ping, both ways, whether or not
 * anything has just been heard: thirty packets and a millisecond of CPU (docs/adr/0022-cheap-idle-connections.md).
 */
import type { Connection } from '@libp2p/interface';
import type { Clock } from '../util/clock.ts';
import { toError, WeirError } from '../util/errors.ts';
import { ANSWER_TIMEOUT, MAINTENANCE_INTERVAL, SILENCE_DIALLED, SILENCE_DIALLER } from './limits.ts';

/** What is used of a connection's muxer, which the library's types call private. */
interface Muxer {
  onData(data: unknown): void;
  /** Resolves with milliseconds; while one is under way, with that one's. */
  ping(): Promise<number>;
}

interface Pulse {
  /** When something came last, or the connection was opened; {@link Clock.monotonic}. */
  heard: number;
  /** How often it was looked at since a ping was sent that nothing has answered. */
  unanswered: number | undefined;
}

/**
 * Looks within which an answer must come. They are counted, not the clock: where this node gets no CPU they come late, and
 * the answer may be there and not be read yet.
 */
const ANSWER_LOOKS = ANSWER_TIMEOUT / MAINTENANCE_INTERVAL;

export class Heartbeats {
  readonly #clock: Clock;
  readonly #pulses: Map<Connection, Pulse> = new Map();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Watches a connection that has been opened. */
  add(connection: Connection): void {
    const pulse: Pulse = { heard: this.#clock.monotonic(), unanswered: undefined };
    const muxer = muxerOf(connection);
    const onData = muxer.onData.bind(muxer);
    muxer.onData = (data) => {
      pulse.heard = this.#clock.monotonic();
      pulse.unanswered = undefined;
      onData(data);
    };
    this.#pulses.set(connection, pulse);
  }

  remove(connection: Connection): void {
    this.#pulses.delete(connection);
  }

  /** One look at all connections: pings those that are silent, and ends those that do not answer. */
  look(): void {
    const now = this.#clock.monotonic();
    for (const [connection, pulse] of this.#pulses) {
      if (connection.status !== 'open') continue;
      if (pulse.unanswered === undefined) {
        const silence = connection.direction === 'outbound' ? SILENCE_DIALLER : SILENCE_DIALLED;
        // The first one is for people: they see how far away a peer is.
        if (connection.rtt === undefined || now - pulse.heard >= silence) void this.#ask(connection, pulse);
      } else if (++pulse.unanswered >= ANSWER_LOOKS) {
        connection.abort(new WeirError('peer_stalled', `nothing came for ${now - pulse.heard} ms`));
      }
    }
  }

  /** Never throws. */
  async #ask(connection: Connection, pulse: Pulse): Promise<void> {
    pulse.unanswered = 0;
    try {
      // Without a limit of its own: yamux takes an answer that comes later for a breach of the protocol.
      connection.rtt = await muxerOf(connection).ping();
    } catch (error) {
      // It is being closed, or a ping could not be sent.
      connection.abort(toError(error));
    }
  }
}

function muxerOf(connection: Connection): Muxer {
  return (connection as unknown as { readonly muxer: Muxer }).muxer;
}
