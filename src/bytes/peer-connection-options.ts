/** What a connection to a member is made from, and what it tells. */
import type { Socket } from 'node:net';
import type { Clock } from '../util/clock.ts';
import type { Hello } from '../transfer/wire-codec.ts';
import type { BodyBuffers } from './body-buffers.ts';
import type { ChunkPlaces } from './chunk-places.ts';
import type { LimitsOf } from './peer-limits.ts';
import type { ConnectionEvent } from './peers-messages.ts';

/** An event without the number of its connection. */
export type Told<Event = ConnectionEvent> = Event extends unknown ? Omit<Event, 'connection'> : never;

export interface PeerConnectionOptions {
  readonly socket: Socket;
  /** The frame with which this node greets. */
  readonly hello: Uint8Array;
  readonly hasDialled: boolean;
  readonly post: (event: Told, transfer?: readonly ArrayBuffer[]) => void;
  readonly places: ChunkPlaces;
  readonly buffers: BodyBuffers;
  readonly limits: LimitsOf;
  /** Of a member that this node has dialled. Another one is known when it is admitted. */
  readonly isOtherZone: boolean;
  /** Milliseconds in which the peer must take a buffer. */
  readonly readerTimeout: number;
  readonly clock: Clock;
  /** It says who it is, and waits to be admitted. Set for a connection that the peer opened. */
  readonly onHello: ((hello: Hello) => void) | undefined;
  readonly onClosed: () => void;
  /** Bytes of chunks have come, which {@link PeerConnection.report} tells. */
  readonly onProgress: () => void;
}
