/**
 * What we change in libp2p, and why (docs/adr/0019-fewer-packets-per-message.md):
 *
 * - yamux: a stream tells its sender of room in the receive window when half of the window is used up, as other
 *   implementations do (https://github.com/hashicorp/yamux/blob/master/spec.md, flow control). The library tells of it
 *   after each frame: each message is answered by a frame that is encrypted, sent and read for nothing.
 * - noise: each message leaves with one write to the socket. The library hands over the two bytes of length and what
 *   follows as two parts, and the TCP transport writes each part by itself: two system calls, and with TCP_NODELAY two
 *   packets, for each message.
 * - logging: the logger is silent, because the library's makes and formats a scope for each stream that nobody reads.
 */
import type {
  StreamMuxerFactory,
  ConnectionEncrypter,
  MessageStream,
  ComponentLogger,
  Logger,
} from '@libp2p/interface';

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

/** The same encrypter, whose connections hand all parts of a message over as one. */
export function withSingleWrites<Components, Encrypter extends ConnectionEncrypter>(
  create: (components: Components) => Encrypter,
): (components: Components) => Encrypter {
  return (components) => {
    const encrypter = create(components);
    const secureInbound = encrypter.secureInbound.bind(encrypter);
    const secureOutbound = encrypter.secureOutbound.bind(encrypter);
    encrypter.secureInbound = (connection, options) => secureInbound(joinParts(connection), options);
    encrypter.secureOutbound = (connection, options) => secureOutbound(joinParts(connection), options);
    return encrypter;
  };
}

function joinParts(connection: MessageStream): MessageStream {
  const send = connection.send.bind(connection);
  connection.send = (data) => send(data.subarray()); // of a list: all parts in one array
  return connection;
}

const say = (): void => undefined;

const silent: Logger = Object.assign(say, { error: say, trace: say, enabled: false, newScope: () => silent });

/** Nothing, unless the environment asks libp2p to speak (`DEBUG=libp2p:*`). */
export function quietLogger(env: Readonly<Record<string, string | undefined>>): {
  readonly logger?: ComponentLogger;
} {
  return env['DEBUG'] === undefined ? { logger: { forComponent: () => silent } } : {};
}
