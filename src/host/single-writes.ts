/**
 * Each message of Noise leaves with one write to the socket. The library hands over its two bytes of length and what
 * follows as two parts, and the TCP transport writes each part by itself: two system calls, and with TCP_NODELAY two
 * packets, for each message (docs/adr/0019-fewer-packets.md).
 */
import type { ConnectionEncrypter, MessageStream } from '@libp2p/interface';

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
