/**
 * Bounds on what kad-dht accepts from others. The library stores values for anybody, up to a megabyte each despite
 * its check of the key, and Weir does not use them. It also reads messages of up to 4 MiB.
 */
import type { Connection, Stream } from '@libp2p/interface';
import type { KadDHT } from '@libp2p/kad-dht';
import { toError } from '../util/errors.ts';
import { FrameDecoder } from '../protocol/frames.ts';
import type { OnAborted } from './frame-stream.ts';
import { weirPeerIdOf } from './connection-gater.ts';

/** Message kinds that are refused, by their names in the library. */
const REFUSED = ['GET_VALUE', 'PUT_VALUE'] as const;

/** The parts of kad-dht that are used here and are not in its interface. */
interface Internals {
  readonly rpc: {
    readonly handlers: Record<string, unknown>;
    onIncomingStream(stream: Stream, connection: Connection): Promise<void>;
  };
  readonly network: {
    _writeReadMessage(stream: Stream, ...rest: readonly unknown[]): Promise<unknown>;
  };
}

/**
 * To be called before the node starts.
 * @param onAborted told of a peer that sends a frame that is too long
 * @throws TypeError if the library has changed
 */
export function boundDht(dht: KadDHT, onAborted: OnAborted): void {
  const { rpc, network } = dht as unknown as Internals;
  const isKnown =
    typeof rpc.onIncomingStream === 'function' && typeof network._writeReadMessage === 'function';
  if (!isKnown || REFUSED.some((kind) => rpc.handlers[kind] === undefined)) {
    throw new TypeError('@libp2p/kad-dht has changed: src/network/dht-bounds.ts does not find what it uses');
  }
  for (const kind of REFUSED) delete rpc.handlers[kind];
  const answer = rpc.onIncomingStream.bind(rpc);
  const ask = network._writeReadMessage.bind(network);
  rpc.onIncomingStream = (stream, connection) => {
    bound(stream, (error) => onAborted(weirPeerIdOf(connection.remotePeer), error));
    return answer(stream, connection);
  };
  network._writeReadMessage = (stream, ...rest) => {
    // An honest answer may be too long because others filled it, so the sender is not blamed.
    bound(stream, () => undefined);
    return ask(stream, ...rest);
  };
}

/** Aborts the stream as soon as a frame is too long. To be called before anything reads the stream. */
function bound(stream: Stream, onTooLong: (error: unknown) => void): void {
  const decoder = new FrameDecoder();
  let over = false;
  stream.addEventListener('message', ({ data }) => {
    if (over) return;
    try {
      // Only the lengths matter here; the frames are dropped.
      for (const chunk of data instanceof Uint8Array ? [data] : data) Array.from(decoder.push(chunk));
    } catch (error) {
      over = true;
      stream.abort(toError(error));
      onTooLong(error);
    }
  });
}
