/**
 * A stream tells its sender of room in the receive window when half of the window is used up, as other implementations
 * of yamux do (https://github.com/hashicorp/yamux/blob/master/spec.md, flow control). The library tells of it after
 * each frame, so that each message is answered by a frame that is encrypted, sent and read for nothing
 * (docs/adr/0019-fewer-packets.md).
 */
import type { StreamMuxerFactory } from '@libp2p/interface';

/** What is used of the library's stream; its types call some of it private. */
interface ReceivingStream {
  readonly state: number;
  /** Bytes of the window when nothing is used up. */
  readonly recvWindow: number;
  /** Bytes that may still come. */
  readonly recvWindowCapacity: number;
  sendWindowUpdate(): void;
}

interface StreamMaker {
  _newStream(...args: readonly unknown[]): ReceivingStream;
}

/** The library's `StreamState` of streams whose next update opens the stream, or accepts it. */
const INIT = 0;
const SYN_RECEIVED = 2;

/** The same muxer, whose streams send fewer updates. Throws where the library is no longer as this file knows it. */
export function withSparseUpdates(create: () => StreamMuxerFactory): () => StreamMuxerFactory {
  return () => {
    const factory = create();
    const createStreamMuxer = factory.createStreamMuxer.bind(factory);
    factory.createStreamMuxer = (connection) => {
      const muxer = createStreamMuxer(connection);
      const maker = muxer as unknown as StreamMaker;
      const newStream = maker._newStream.bind(muxer);
      maker._newStream = (...args) => sparse(newStream(...args));
      return muxer;
    };
    return factory;
  };
}

function sparse(stream: ReceivingStream): ReceivingStream {
  const sendWindowUpdate = stream.sendWindowUpdate.bind(stream);
  stream.sendWindowUpdate = () => {
    const { state, recvWindow, recvWindowCapacity } = stream;
    const opens = state === INIT || state === SYN_RECEIVED;
    if (opens || recvWindowCapacity < recvWindow / 2) sendWindowUpdate();
  };
  return stream;
}
