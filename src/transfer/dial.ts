/**
 * Dials a member's peer port: all its addresses are tried, a little apart (as in RFC 8305), and the first one that
 * answers with the right certificate wins. Nothing is written before the certificate is checked.
 */
import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls, type SecureContext, type TLSSocket } from 'node:tls';
import { KIB, SECOND, type Clock } from '../util/clock.ts';
import { errorMessage, WeirError } from '../util/errors.ts';
import type { Address } from '../protocol/member.ts';
import { ActiveTimer } from '../util/active-time.ts';
import { fingerprintOf } from './certificate.ts';
import { ALPN } from './limits.ts';

/**
 * Milliseconds of active time (active-time.ts) for TCP. Within a cluster it takes a few, but if the packet that opens a
 * connection is lost, as on a full link, it is sent again only after 1 s (RFC 6298, section 2).
 */
const CONNECT_TIMEOUT = 1.5 * SECOND;
/** Milliseconds of active time for TLS. A peer that has accepted the connection is alive, but may be short of CPU. */
const HANDSHAKE_TIMEOUT = 6 * SECOND;
/** Milliseconds before the next address is tried, too, if none has answered yet (RFC 8305, section 5). */
const STAGGER = 250;
/** Bytes that are read at a time: TLS gives one record, plain TCP all that is there. */
const TLS_READ = 16 * KIB;
const PLAIN_READ = 64 * KIB;

/**
 * A socket that reads into one buffer of its own and calls back, without a stream in between. That halves the cost of
 * receiving (docs/protocol.md).
 */
export interface Wire {
  readonly socket: Socket;
  /** Takes bytes, which are valid until it returns. Returns false to pause until `socket.resume()`. */
  reader: ((bytes: Buffer) => boolean) | undefined;
}

/** The certificate that a dialled port must have. */
export interface Expected {
  /** sha256 of its certificate. */
  readonly fingerprint: Uint8Array;
  /** Presents this node's certificate. */
  readonly context: SecureContext;
}

/**
 * @param expected undefined: plain TCP
 * @throws WeirError `peer_unreachable`; the signal's reason
 */
export async function dial(
  addresses: readonly Address[],
  expected: Expected | undefined,
  clock: Clock,
  { signal }: { readonly signal: AbortSignal },
): Promise<Wire> {
  const over = new AbortController();
  const until = AbortSignal.any([signal, over.signal]);
  const attempts: Promise<Wire>[] = [];
  for (const [i, address] of addresses.entries()) {
    const before = Promise.allSettled(attempts.slice());
    const attempt = async () => {
      if (i > 0) await Promise.race([before, clock.sleep(i * STAGGER, { signal: until })]);
      until.throwIfAborted();
      return await open(address, expected, clock, until);
    };
    attempts.push(attempt());
  }
  try {
    const winner = await Promise.any(attempts);
    for (const attempt of attempts) {
      // Two attempts may have succeeded at once.
      attempt.then(
        (wire) => wire !== winner && wire.socket.destroy(),
        () => undefined,
      );
    }
    return winner;
  } catch (error) {
    signal.throwIfAborted();
    const reasons = error instanceof AggregateError ? error.errors.map(errorMessage) : [errorMessage(error)];
    const tried = reasons.length === 0 ? 'it names no address' : reasons.join('; ');
    throw new WeirError('peer_unreachable', `no connection: ${tried}`, { cause: error });
  } finally {
    over.abort(new WeirError('aborted', 'another address has answered'));
  }
}

function open(
  { host, port }: Address,
  expected: Expected | undefined,
  clock: Clock,
  signal: AbortSignal,
): Promise<Wire> {
  const { promise, resolve, reject } = Promise.withResolvers<Wire>();
  // With a name, a member's record could make this node ask a resolver.
  if (isIP(host) === 0) return Promise.reject(new WeirError('peer_unreachable', `${host} is no IP address`));
  const wire = createWire({ host, port }, expected);
  const { socket } = wire;
  let over = false;
  const fail = (why: string): void => {
    if (over) return;
    over = true;
    socket.destroy();
    reject(new WeirError('peer_unreachable', `${host} port ${port}: ${why}`));
  };
  const onAbort = (): void => fail('given up');
  const time = new ActiveTimer(clock, CONNECT_TIMEOUT);
  time.signal.addEventListener('abort', () => fail(errorMessage(time.signal.reason)), { once: true });
  socket.once('connect', () => time.prolong(HANDSHAKE_TIMEOUT));
  const onError = (error: Error): void => fail(error.message);
  const onClose = (): void => fail('closed');
  signal.addEventListener('abort', onAbort, { once: true });
  socket.once('error', onError);
  socket.once('close', onClose);
  socket.once(expected === undefined ? 'connect' : 'secureConnect', () => {
    if (expected !== undefined && !isExpected(socket as TLSSocket, expected)) {
      fail('it has another certificate');
      return;
    }
    over = true;
    resolve(wire);
  });
  return promise.finally(() => {
    time[Symbol.dispose]();
    signal.removeEventListener('abort', onAbort);
    socket.off('close', onClose);
    if (!socket.destroyed) socket.off('error', onError); // the caller listens for errors before one can come
  });
}

function createWire(address: Address, expected: Expected | undefined): Wire {
  const onread = {
    buffer: Buffer.allocUnsafeSlow(expected === undefined ? PLAIN_READ : TLS_READ),
    callback: (length: number, buffer: Uint8Array): boolean => {
      const bytes = Buffer.from(buffer.buffer, buffer.byteOffset, length);
      if (wire.reader !== undefined) return wire.reader(bytes);
      wire.socket.destroy(); // nothing was requested
      return false;
    },
  };
  const common = { ...address, onread, noDelay: true };
  const socket: Socket =
    expected === undefined
      ? connectTcp(common)
      : connectTls({
          ...common,
          secureContext: expected.context,
          minVersion: 'TLSv1.3',
          rejectUnauthorized: false, // the fingerprint decides, not an authority
          ALPNProtocols: [ALPN],
        });
  const wire: Wire = { socket, reader: undefined };
  return wire;
}

function isExpected(socket: TLSSocket, { fingerprint }: Expected): boolean {
  const certificate = socket.getPeerX509Certificate();
  return certificate !== undefined && Buffer.compare(fingerprintOf(certificate.raw), fingerprint) === 0;
}
