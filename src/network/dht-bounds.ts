/**
 * What kad-dht takes from others, bounded as all else is. The library keeps values for anybody (Weir has no use for
 * them, and its check of a key lets a megabyte pass beside it), and reads messages of up to 4 MiB.
 */
import type { Connection, Stream } from '@libp2p/interface';
import type { KadDHT } from '@libp2p/kad-dht';
import { toError } from '../util/errors.ts';
import { FrameDecoder } from '../protocol/frames.ts';
import type { OnAborted } from './frame-stream.ts';
import { weirPeerIdOf } from './connection-gater.ts';

/** Kinds of message that are refused, by their names in the library. */
const REFUSED = ['GET_VALUE', 'PUT_VALUE'] as const;

/** What is used of kad-dht besides its interface. */
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
 * @throws TypeError where the library is no longer as this file knows it
 */
export function boundDht(dht: KadDHT, onAborted: OnAborted): void {
  const { rpc, network } = dht as unknown as Internals;
  const isKnown =
    typeof rpc.onIncomingStream === 'function' && typeof network._writeReadMessage === 'function';
  if (!isKnown || REFUSED.some((kind) => rpc.handlers[kind] === undefined)) {
    throw new TypeError('@libp2p/kad-dht has no longer what src/network/dht-bounds.ts uses of it');
  }
  for (const kind of REFUSED) delete rpc.handlers[kind];
  const answer = rpc.onIncomingStream.bind(rpc);
  const ask = network._writeReadMessage.bind(network);
  rpc.onIncomingStream = (stream, connection) => {
    bound(stream, (error) => onAborted(weirPeerIdOf(connection.remotePeer), error));
    return answer(stream, connection);
  };
  network._writeReadMessage = (stream, ...rest) => {
    // An honest answer may be too long, where others have filled it: it is not held against who gives it.
    bound(stream, () => undefined);
    return ask(stream, ...rest);
  };
}

/** Aborts the stream on sight of a frame that is too long; to be called before anybody reads it. */
function bound(stream: Stream, onTooLong: (error: unknown) => void): void {
  const decoder = new FrameDecoder();
  let over = false;
  stream.addEventListener('message', ({ data }) => {
    if (over) return;
    try {
      // The frames themselves are of no interest here.
      for (const chunk of data instanceof Uint8Array ? [data] : data) Array.from(decoder.push(chunk));
    } catch (error) {
      over = true;
      stream.abort(toError(error));
      onTooLong(error);
    }
  });
}
