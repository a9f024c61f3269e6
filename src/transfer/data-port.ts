/**
 * The listening sockets of the data plane. A connection is admitted right after its TLS handshake, before a byte of
 * HTTP is read (admission.ts): a stranger is cut off without an answer. Requests of members are handed on.
 */
import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerOptions,
  type ServerResponse,
} from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { listening } from '../http/listen.ts';
import { constants } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo, Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { SECOND } from '../util/clock.ts';
import { systemCode, WeirError } from '../util/errors.ts';
import type { Address } from '../protocol/member.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import { Admission, type KnownMembers, type Refusal } from './admission.ts';
import { CIPHERS, HEADER, LIMITS } from './wire-format.ts';

/** A handshake takes three packets, and seconds if CPU is short. A slower peer holds a connection that others want. */
const HANDSHAKE_TIMEOUT = 15 * SECOND;
/** From a request's first byte, or from the start of the connection, to the end of its head; it has no body. */
const HEAD_TIMEOUT = 15 * SECOND;
/** How often connections are checked for that. */
const TIMEOUT_CHECK = 3 * SECOND;
/** Longer than a client keeps an idle connection, so that none is closed while a request is on its way. */
const IDLE_TIMEOUT = 60 * SECOND;
/**
 * Requests of one connection at a time. Without a bound, a peer that does not wait for answers could have any number
 * served at once. A second one may come before this side knows that the last bytes of the first have left.
 */
const MAX_AHEAD = 2;
/** Connections for each listening address: each takes a file descriptor and, with TLS, some 60 KiB. */
const MAX_CONNECTIONS = 1024;

const HTTP: ServerOptions = {
  maxHeaderSize: LIMITS.requestHead,
  headersTimeout: HEAD_TIMEOUT,
  requestTimeout: HEAD_TIMEOUT,
  connectionsCheckingInterval: TIMEOUT_CHECK,
  keepAliveTimeout: IDLE_TIMEOUT,
  noDelay: true,
  requireHostHeader: false, // otherwise node:http would answer by itself, also to strangers
};

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
  readonly listen: readonly Address[];
  /** Undefined: plain HTTP, for a trusted network. */
  readonly tls: KeyPair | undefined;
  readonly membership: KnownMembers;
  /** Answers a member; never rejects. */
  readonly onRequest: (peer: PeerId, request: IncomingMessage, response: ServerResponse) => Promise<void>;
  /** A connection was cut off. @param address its remote address */
  readonly onRefused: (reason: Refusal, address: string) => void;
  readonly onWarning: (message: string) => void;
}

export class DataPort implements AsyncDisposable {
  readonly #options: DataPortOptions;
  readonly #admission: Admission;
  readonly #servers: Server[] = [];
  readonly #addresses: Address[] = [];
  /** All open connections, of members and of strangers. */
  readonly #sockets = new Set<Socket>();
  /** Number of requests that are being served, by connection. */
  readonly #serving = new WeakMap<Socket, number>();

  private constructor(options: DataPortOptions) {
    this.#options = options;
    this.#admission = new Admission(options.membership, options.tls !== undefined);
  }

  /** @throws WeirError `address_in_use` */
  static async open(options: DataPortOptions): Promise<DataPort> {
    const port = new DataPort(options);
    try {
      for (const address of options.listen) await port.#listen(address);
      if (port.#servers.length > 0) return port;
      throw new WeirError('address_in_use', 'none of the addresses of the data port exists on this machine');
    } catch (error) {
      await port[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** The addresses that it listens on, with the ports that the system gave. */
  get addresses(): readonly Address[] {
    return this.#addresses;
  }

  /** Connections of members. */
  get connections(): number {
    return this.#admission.connections;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#admission[Symbol.dispose]();
    const closed = this.#servers.map((server) => once(server.close(), 'close'));
    for (const socket of this.#sockets) socket.destroy();
    await Promise.all(closed);
  }

  async #listen({ host, port }: Address): Promise<void> {
    const server = this.#create();
    // With port 0 all addresses get the port that the first one was given.
    const wanted = port === 0 ? (this.#addresses[0]?.port ?? 0) : port;
    try {
      await listening(server, host, wanted);
    } catch (cause) {
      const code = systemCode(cause);
      if (code !== 'EADDRNOTAVAIL' && code !== 'EAFNOSUPPORT') {
        const message = `${host} port ${wanted} cannot be listened on (${code})`;
        throw new WeirError('address_in_use', message, { cause });
      }
      this.#options.onWarning(`cannot listen on ${host}: the address does not exist here`);
      return;
    }
    this.#servers.push(server);
    const bound = server.address() as AddressInfo;
    this.#addresses.push({ host: bound.address, port: bound.port });
  }

  #create(): Server {
    const { tls } = this.#options;
    const server = tls === undefined ? createServer(HTTP) : createTlsServer({ ...HTTP, ...TLS, ...tls });
    server.maxConnections = MAX_CONNECTIONS;
    server.on('connection', (socket: Socket) => this.#onConnection(socket));
    // Before node:https, which would begin to read HTTP.
    server.prependListener('secureConnection', (socket: TLSSocket) => {
      const verdict = this.#admission.byCertificate(socket);
      if ('refused' in verdict) this.#refuse(socket, verdict.refused);
    });
    // Otherwise node:http would answer the latter two by itself, also to strangers.
    for (const event of ['request', 'checkContinue', 'checkExpectation']) {
      server.on(event, (request: IncomingMessage, response: ServerResponse) => {
        void this.#onRequest(request, response);
      });
    }
    server.on('connect', (_request, socket: Socket) => socket.destroy());
    server.on('clientError', (error: Error, socket: Socket) => this.#onMalformed(error, socket));
    return server;
  }

  #onConnection(socket: Socket): void {
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    if (!this.#admission.begin(socket)) this.#refuse(socket, 'too-many');
  }

  #refuse(socket: Socket, reason: Refusal): void {
    this.#options.onRefused(reason, socket.remoteAddress ?? '');
    socket.destroy();
  }

  /**
   * Bytes that are no HTTP. A member gets an error if no answer is being sent to it; a stranger gets none. A member
   * whose request came too late gets none either: its request may be on its way, and it would take the error for the
   * answer.
   */
  #onMalformed(error: Error, socket: Socket): void {
    const isFree = (this.#serving.get(socket) ?? 0) === 0;
    const isLate = systemCode(error) === 'ERR_HTTP_REQUEST_TIMEOUT';
    if (!this.#admission.knows(socket) || !socket.writable || !isFree || isLate) {
      socket.destroy();
      return;
    }
    const isLong = systemCode(error) === 'HPE_HEADER_OVERFLOW';
    const status = isLong ? '431 Request Header Fields Too Large' : '400 Bad Request';
    socket.write(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
    socket.destroySoon();
  }

  /** Never rejects. */
  async #onRequest(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { socket } = request;
    const verdict = this.#admission.ofRequest(socket, request.headers[HEADER.peer]);
    if ('refused' in verdict) return this.#refuse(socket, verdict.refused);
    const serving = (this.#serving.get(socket) ?? 0) + 1;
    if (serving > MAX_AHEAD) return this.#refuse(socket, 'too-many');
    this.#serving.set(socket, serving);
    await this.#options.onRequest(verdict.peer, request, response);
    this.#serving.set(socket, (this.#serving.get(socket) ?? 1) - 1);
  }
}
