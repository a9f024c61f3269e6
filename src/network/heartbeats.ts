/**
 * Checks whether the peer at the other end of a connection is still there. A connection that has been silent for a
 * while gets a ping of yamux, one frame each way; any incoming data counts as the answer. The side that was dialled
 * waits longer, so that only one of the two asks.
 *
 * libp2p's own monitor opens a stream for each ping, on both sides, even if data has just arrived: 30 packets and a
 * millisecond of CPU (docs/adr/0022-cheap-idle-connections.md).
 */
import type { Connection } from '@libp2p/interface';
import type { Clock } from '../util/clock.ts';
import { toError, WeirError } from '../util/errors.ts';
import { ANSWER_TIMEOUT, MAINTENANCE_INTERVAL, SILENCE_DIALLED, SILENCE_DIALLER } from './limits.ts';

/** The part of a connection's muxer that is used here; the library's types call it private. */
interface Muxer {
  onData(data: unknown): void;
  /** Resolves with milliseconds. A ping that is already under way is shared. */
  ping(): Promise<number>;
}

interface Pulse {
  /** When data last arrived, or the connection was opened; {@link Clock.monotonic}. */
  heard: number;
  /** Looks since a ping that nothing has answered yet; undefined if no ping is under way. */
  unanswered: number | undefined;
}

/**
 * An answer must come within so many looks. Looks are counted instead of time: if this node gets no CPU they come
 * late, and the answer may be there but unread.
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

  /** Pings silent connections, and aborts those that do not answer. */
  look(): void {
    const now = this.#clock.monotonic();
    for (const [connection, pulse] of this.#pulses) {
      if (connection.status !== 'open') continue;
      if (pulse.unanswered === undefined) {
        const silence = connection.direction === 'outbound' ? SILENCE_DIALLER : SILENCE_DIALLED;
        // The first ping measures the round trip, which `weir peers` shows.
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
      // It has no limit of its own: yamux treats a late answer as a protocol error.
      connection.rtt = await muxerOf(connection).ping();
    } catch (error) {
      // The connection is closing, or the ping could not be sent.
      connection.abort(toError(error));
    }
  }
}

function muxerOf(connection: Connection): Muxer {
  return (connection as unknown as { readonly muxer: Muxer }).muxer;
}
