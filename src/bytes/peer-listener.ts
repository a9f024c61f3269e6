/** Listens for members in a byte worker. A connection counts once its TLS handshake is done. */
import { constants } from 'node:crypto';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type TLSSocket } from 'node:tls';
import { listening } from '../http/listen.ts';
import { SECOND } from '../util/clock.ts';
import type { PresentedCertificate } from '../transfer/admission.ts';
import { fingerprintOf, nameIn } from '../transfer/certificate.ts';
import { ALPN, CIPHERS, type KeyPair } from '../transfer/limits.ts';

/** A handshake takes three packets, and seconds if CPU is short. A slower peer holds a connection that others want. */
const HANDSHAKE_TIMEOUT = 15 * SECOND;

const TLS = {
  minVersion: 'TLSv1.3',
  ciphers: CIPHERS,
  honorCipherOrder: true,
  requestCert: true,
  rejectUnauthorized: false, // the fingerprint decides, not an authority
  handshakeTimeout: HANDSHAKE_TIMEOUT,
  secureOptions: constants.SSL_OP_NO_TICKET, // a resumed session would bring no certificate
  ALPNProtocols: [ALPN],
} as const;

export interface PeerListenerOptions {
  readonly host: string;
  readonly port: number;
  readonly tls: KeyPair | undefined;
  readonly maxConnections: number;
  /** TCP has accepted it. */
  readonly onAccepted: (socket: Socket) => void;
  /** It can be used: the socket of TLS over the accepted one, or that one itself. */
  readonly onReady: (accepted: Socket, socket: Socket) => void;
}

export class PeerListener {
  readonly #server: Server;
  /** By address and port, because the sockets of TCP and of TLS over it are two objects. */
  readonly #accepted = new Map<string, Socket>();

  constructor({ tls, maxConnections, onAccepted, onReady }: PeerListenerOptions) {
    const server = tls === undefined ? createServer() : createTlsServer({ ...TLS, ...tls });
    this.#server = server;
    server.maxConnections = maxConnections;
    server.prependListener('connection', (raw: Socket) => {
      const key = keyOf(raw);
      this.#accepted.set(key, raw);
      raw.setNoDelay(true);
      raw.on('error', () => undefined); // TLS listens for its own
      raw.once('close', () => {
        if (this.#accepted.get(key) === raw) this.#accepted.delete(key);
      });
      onAccepted(raw);
      if (tls === undefined) onReady(raw, raw);
    });
    server.on('tlsClientError', (_error, socket: TLSSocket) => socket.destroy());
    server.on('secureConnection', (socket: TLSSocket) => {
      socket.on('error', () => undefined);
      const raw = this.#accepted.get(keyOf(socket));
      if (raw === undefined || socket.alpnProtocol !== ALPN) socket.destroy();
      else onReady(raw, socket);
    });
  }

  /** @throws the system's error */
  static async open(options: PeerListenerOptions): Promise<PeerListener> {
    const listener = new PeerListener(options);
    await listening(listener.#server, options.host, options.port, { reusePort: true });
    return listener;
  }

  get address(): AddressInfo {
    return this.#server.address() as AddressInfo;
  }

  /** Takes no more connections. */
  close(): void {
    this.#server.close();
  }
}

function keyOf({ remoteAddress = '', remotePort = 0 }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}

/** The certificate that the peer of a connection over TLS presented. */
export function presentedBy(socket: Socket): PresentedCertificate | undefined {
  if (!('getPeerX509Certificate' in socket)) return undefined;
  const certificate = (socket as TLSSocket).getPeerX509Certificate();
  return certificate && { fingerprint: fingerprintOf(certificate.raw), name: nameIn(certificate) };
}
