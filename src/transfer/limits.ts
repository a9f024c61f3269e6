/** The bounds on which both ends of the peer wire must agree (docs/protocol.md, "Peer wire"). */
import { MIB, SECOND } from '../util/clock.ts';
import { MESSAGE_LIMITS } from '../protocol/messages.ts';

export const LIMITS = {
  /** Bytes of the largest chunk. */
  chunk: 8 * MIB,
  /** Bytes of a blob that is requested whole: the largest manifest that registries take. */
  whole: 4 * MIB,
  /** Milliseconds for which an owner may tell its asker to wait. */
  retry: 60_000,
  /** Requests that a node may say it holds at a time. */
  load: 1_000_000,
  /** Members that an owner may name as holders. */
  holders: 3,
  /** Bytes of a blob. */
  size: MESSAGE_LIMITS.size,
  /** Requests over one connection at a time, by either side; the serving side allows for twice as many. */
  requests: 8,
  /** Milliseconds without a word after which the side that dialled closes a connection. */
  idle: 60 * SECOND,
} as const;

/** Names the major version, in the TLS handshake (RFC 7301). */
export const ALPN = 'weir/1';

/** TLS 1.3 suites, best first: AES with hardware support in 128 bits costs the least (docs/protocol.md). */
export const CIPHERS = 'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256';

/** PEM. */
export interface KeyPair {
  readonly cert: string;
  readonly key: string;
}
