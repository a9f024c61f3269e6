/**
 * The listening side of the data plane. A connection is admitted right after its TLS handshake, before a byte of HTTP is
 * read (admission.ts): a stranger is cut off without an answer. Requests of members are handed on. The sockets are in byte
 * workers; what is decided here is who is at their other end.
 */
import { constants } from 'node:crypto';
import type {
  Connection,
  Exchange,
  HttpListener,
  HttpListeners,
  PeerServerOptions,
  PresentedCertificate,
  SharedRate,
} from '../http/exchange.ts';
import { openAll } from '../http/listen.ts';
import { SECOND } from '../util/clock.ts';
import type { Address } from '../protocol/member.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import { Admission, type KnownMembers, type Refusal } from './admission.ts';
import { CIPHERS, HEADER, LIMITS } from './wire-format.ts';

/** A handshake takes three packets, and seconds if CPU is short. A slower peer holds a connection that others want. */
const HANDSHAKE_TIMEOUT = 15 * SECOND;
/**
 * Requests of one connection at a time. Without a bound, a peer that does not wait for answers could have any number
 * served at once. A second one may come before this side knows that the last bytes of the first have left.
 */
const MAX_AHEAD = 2;

const HTTP = {
  maxHeaderSize: LIMITS.requestHead,
  /** From a request's first byte, or from the start of the connection, to the end of its head; it has no body. */
  requestTimeout: 15 * SECOND,
  timeoutCheck: 3 * SECOND,
  /** Longer than a client keeps an idle connection, so that none is closed while a request is on its way. */
  keepAlive: 60 * SECOND,
  /** For each listening address: each takes a file descriptor and, with TLS, some 60 KiB. */
  maxConnections: 1024,
} as const;

const TLS = {
  minVersion: 'TLSv1.3',
  ciphers: CIPHERS,
  honorCipherOrder: true,
  requestCert: true,
  rejectUnauthorized: false, // the fingerprint decides, not an authority
  handshakeTimeout: HANDSHAKE_TIMEOUT,
  secureOptions: constants.SSL_OP_NO_TICKET, // a resumed session would bring no certificate
} as const;

/** PEM. */
export interface KeyPair {
  readonly cert: string;
  readonly key: string;
}

export interface DataPortOptions {
  readonly http: HttpListeners;
  readonly listen: readonly Address[];
  /** Undefined: plain HTTP, for a trusted network. */
  readonly tls: KeyPair | undefined;
  readonly membership: KnownMembers;
  readonly maxRate: SharedRate | undefined;
  /** Milliseconds in which a reader must take a buffer of 256 KiB. */
  readonly readerTimeout: number;
  /** Answers a member; never rejects. */
  readonly onRequest: (peer: PeerId, exchange: Exchange, connection: Connection) => Promise<void>;
  /** A connection was cut off. @param address its remote address */
  readonly onRefused: (reason: Refusal, address: string) => void;
  readonly onWarning: (message: string) => void;
}

export class DataPort implements AsyncDisposable {
  readonly #options: DataPortOptions;
  readonly #admission: Admission;
  #listeners: readonly HttpListener[] = [];

  private constructor(options: DataPortOptions) {
    this.#options = options;
    this.#admission = new Admission(options.membership, options.tls !== undefined);
  }

  /** @throws WeirError `address_in_use` */
  static async open(options: DataPortOptions): Promise<DataPort> {
    const port = new DataPort(options);
    try {
      await port.#open();
      return port;
    } catch (error) {
      await port[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #open(): Promise<void> {
    const { http, listen, tls, maxRate, readerTimeout, onWarning } = this.#options;
    const options: PeerServerOptions = {
      limits: { ...HTTP, clientTimeout: readerTimeout },
      tls: tls && { ...TLS, ...tls },
      maxRate,
      maxAhead: MAX_AHEAD,
      onAccepted: (connection) => this.#admission.begin(connection) || this.#refused('too-many', connection),
      onSecured: (connection, certificate) => this.#onSecured(connection, certificate),
      onFlooded: (connection) => void this.#refused('too-many', connection),
      onExchange: (exchange, connection) => this.#onExchange(exchange, connection),
      onWarning,
    };
    this.#listeners = await openAll({
      addresses: listen,
      open: (address) => http.listenToPeers(address, options),
      setting: 'transfer.listen',
      onWarning,
    });
  }

  /** The addresses that it listens on, with the ports that the system gave. */
  get addresses(): readonly Address[] {
    return this.#listeners.map(({ host, port }) => ({ host, port }));
  }

  /** Connections of members. */
  get connections(): number {
    return this.#admission.connections;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#admission[Symbol.dispose]();
    await Promise.all(this.#listeners.map((listener) => listener[Symbol.asyncDispose]()));
  }

  #onSecured(connection: Connection, certificate: PresentedCertificate | undefined): boolean {
    const verdict = this.#admission.byCertificate(connection, certificate);
    return 'peer' in verdict || this.#refused(verdict.refused, connection);
  }

  #onExchange(exchange: Exchange, connection: Connection): void {
    const verdict = this.#admission.ofRequest(connection, exchange.request.headers[HEADER.peer]);
    if ('refused' in verdict) {
      this.#refused(verdict.refused, connection);
      connection.destroy();
      return;
    }
    void this.#options.onRequest(verdict.peer, exchange, connection);
  }

  #refused(reason: Refusal, { remoteAddress }: Connection): false {
    this.#options.onRefused(reason, remoteAddress);
    return false;
  }
}
