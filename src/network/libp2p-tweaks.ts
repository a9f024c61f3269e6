/**
 * What Weir changes in libp2p, and why (docs/adr/0019-fewer-packets-per-message.md):
 *
 * - yamux: a stream sends a window update when half of its receive window is used up, as other implementations do
 *   (https://github.com/hashicorp/yamux/blob/master/spec.md, flow control). The library sends one after each frame,
 *   so each message costs a second frame that is encrypted, sent and read for nothing.
 * - noise: each message leaves with one write to the socket. The library hands over the two length bytes and the rest
 *   as two parts, and the TCP transport writes each part separately. Each message costs two system calls, and with
 *   TCP_NODELAY two packets.
 * - logging: the logger is silent. The library's logger makes and formats a scope for each stream, which nobody
 *   reads.
 */
import type {
  StreamMuxerFactory,
  ConnectionEncrypter,
  MessageStream,
  ComponentLogger,
  Logger,
} from '@libp2p/interface';

/** The part of the library's stream that is used here; its types call some of it private. */
interface ReceivingStream {
  readonly state: number;
  /** Bytes of the whole window. */
  readonly recvWindow: number;
  /** Bytes that may still come. */
  readonly recvWindowCapacity: number;
  sendWindowUpdate(): void;
}

interface StreamMaker {
  _newStream(...args: readonly unknown[]): ReceivingStream;
}

/** The library's `StreamState` of streams whose next window update also opens or accepts the stream. */
const INIT = 0;
const SYN_RECEIVED = 2;

/** The same muxer, but its streams send fewer window updates. @throws TypeError if the library has changed */
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

/** The same encrypter, but its connections send all parts of a message as one. */
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
  connection.send = (data) => send(data.subarray()); // joins the parts of a list
  return connection;
}

const say = (): void => undefined;

const silent: Logger = Object.assign(say, { error: say, trace: say, enabled: false, newScope: () => silent });

/** Options that silence libp2p, unless the environment asks for its log (`DEBUG=libp2p:*`). */
export function quietLogger(env: Readonly<Record<string, string | undefined>>): {
  readonly logger?: ComponentLogger;
} {
  return env['DEBUG'] === undefined ? { logger: { forComponent: () => silent } } : {};
}
