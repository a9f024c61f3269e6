/**
 * A server for peers in a byte worker. The main thread hears of each connection when it is accepted and after its TLS
 * handshake. Nothing of HTTP is read before it has admitted the connection: a stranger is cut off without an answer.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { nodeOptionsOf, type PresentedCertificate, type ServerLimits } from '../http/exchange.ts';
import { fingerprintOf, nameIn } from '../transfer/certificate.ts';
import { systemCode } from '../util/errors.ts';
import type { ConnectionCommand, ConnectionEvent, PeerOptions } from './http-messages.ts';

type SpeakHttp = (this: Server, socket: Socket) => void;

export interface PeerServerContext extends Pick<PeerOptions, 'tls' | 'maxAhead'> {
  readonly listener: number;
  readonly limits: ServerLimits;
  /** The next number of a connection. */
  readonly number: () => number;
  readonly post: (event: ConnectionEvent) => void;
  readonly onRequest: (
    connection: PeerConnection,
    request: IncomingMessage,
    response: ServerResponse,
  ) => void;
}

/** One connection of a peer. */
export interface PeerConnection {
  readonly id: number;
  /** Of TCP. */
  readonly raw: Socket;
  /** That HTTP is spoken over. */
  socket: Socket;
  /** Whether a member is at the other end. */
  isKnown: boolean;
  /** Requests that are not answered to their end. */
  serving: number;
}

export class PeerServer {
  readonly server: Server;
  readonly #context: PeerServerContext;
  readonly #connections = new Map<number, PeerConnection>();
  /** By address and port, because the sockets of TCP and of TLS over it are two objects. */
  readonly #byAddress = new Map<string, PeerConnection>();
  /** What node:http does with a connection. */
  readonly #speakHttp: readonly SpeakHttp[];

  constructor(context: PeerServerContext) {
    this.#context = context;
    const { tls, limits } = context;
    // Otherwise node:http would answer a request without Host by itself, also to strangers.
    const http = { ...nodeOptionsOf(limits), requireHostHeader: false };
    const server: Server = tls === undefined ? createServer(http) : createTlsServer({ ...http, ...tls });
    this.server = server;
    server.maxConnections = limits.maxConnections;
    const ready = tls === undefined ? 'connection' : 'secureConnection';
    this.#speakHttp = server.listeners(ready) as readonly SpeakHttp[];
    server.removeAllListeners(ready);
    server.prependListener('connection', (socket: Socket) => this.#onConnection(socket));
    if (tls !== undefined) server.on(ready, (socket: TLSSocket) => this.#onSecured(socket));
    // Otherwise node:http would answer the latter two by itself, also to strangers.
    for (const event of ['request', 'checkContinue', 'checkExpectation']) {
      server.on(event, (request: IncomingMessage, response: ServerResponse) => {
        this.#onRequest(request, response);
      });
    }
    server.on('connect', (_request, socket: Socket) => socket.destroy());
    server.on('clientError', (error: Error, socket: Socket) => this.#onMalformed(error, socket));
  }

  do({ kind, connection: id }: ConnectionCommand): void {
    const connection = this.#connections.get(id);
    if (connection === undefined) return; // it has closed
    if (kind === 'cut') connection.socket.destroy();
    if (kind === 'known') connection.isKnown = true;
    if (kind === 'admit') for (const speak of this.#speakHttp) speak.call(this.server, connection.socket);
  }

  /** Closes all connections, also those in a handshake. */
  cutAll(): void {
    for (const { raw, socket } of this.#connections.values()) {
      socket.destroy();
      raw.destroy();
    }
  }

  #onConnection(raw: Socket): void {
    const { listener, number, post } = this.#context;
    const { remoteAddress = '', remotePort = 0 } = raw;
    const id = number();
    const key = keyOf(raw);
    const connection: PeerConnection = { id, raw, socket: raw, isKnown: false, serving: 0 };
    this.#connections.set(id, connection);
    this.#byAddress.set(key, connection);
    raw.on('error', () => undefined); // node:http listens only once the connection is admitted
    raw.once('close', () => {
      this.#connections.delete(id);
      if (this.#byAddress.get(key) === connection) this.#byAddress.delete(key);
      post({ kind: 'disconnected', connection: id });
    });
    post({ kind: 'accepted', listener, connection: id, remoteAddress, remotePort });
  }

  #onSecured(socket: TLSSocket): void {
    const connection = this.#byAddress.get(keyOf(socket));
    if (connection === undefined) {
      socket.destroy();
      return;
    }
    connection.socket = socket;
    socket.on('error', () => undefined);
    const certificate = presentedBy(socket);
    connection.isKnown = true; // nobody else is admitted
    this.#context.post({ kind: 'secured', connection: connection.id, certificate });
  }

  #onRequest(request: IncomingMessage, response: ServerResponse): void {
    const connection = this.#byAddress.get(keyOf(request.socket));
    if (connection === undefined || request.socket.destroyed) return;
    connection.serving += 1;
    if (connection.serving > this.#context.maxAhead) {
      this.#context.post({ kind: 'flooded', connection: connection.id });
      request.socket.destroy();
      return;
    }
    response.once('close', () => (connection.serving -= 1));
    response.sendDate = false;
    this.#context.onRequest(connection, request, response);
  }

  /**
   * Bytes that are no HTTP. A member gets an error if no answer is being sent to it; a stranger gets none. A member
   * whose request came too late gets none either: its request may be on its way, and it would take the error for the
   * answer.
   */
  #onMalformed(error: Error, socket: Socket): void {
    const connection = this.#byAddress.get(keyOf(socket));
    const isLate = systemCode(error) === 'ERR_HTTP_REQUEST_TIMEOUT';
    if (connection?.isKnown !== true || !socket.writable || connection.serving > 0 || isLate) {
      socket.destroy();
      return;
    }
    const isLong = systemCode(error) === 'HPE_HEADER_OVERFLOW';
    const status = isLong ? '431 Request Header Fields Too Large' : '400 Bad Request';
    socket.write(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
    socket.destroySoon();
  }
}

function keyOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}

function presentedBy(socket: TLSSocket): PresentedCertificate | undefined {
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined) return undefined;
  return { fingerprint: fingerprintOf(certificate.raw), name: nameIn(certificate) };
}
