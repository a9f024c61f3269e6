/** A real HTTP server of a test's own, whose answers the test writes itself. */
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, Server as NetServer, Socket } from 'node:net';
import type { Certificate } from './certificates.ts';

export type Handler = (request: IncomingMessage, response: ServerResponse) => void | Promise<void>;

export interface SeenRequest {
  readonly method: string;
  /** Path and query. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

export class HttpServer implements AsyncDisposable {
  /** `127.0.0.1:PORT`, or with the given address. */
  readonly host: string;
  readonly url: string;
  /** All requests so far. */
  readonly requests: SeenRequest[] = [];
  /** Connections ever made, also those without a request. */
  accepted = 0;
  /** Answers every request; may be replaced at any time. */
  handler: Handler;
  readonly #server: NetServer;
  readonly #sockets: Set<Socket>;

  private constructor(server: NetServer, sockets: Set<Socket>, scheme: string, handler: Handler) {
    this.#server = server;
    this.#sockets = sockets;
    const { address, port } = server.address() as AddressInfo;
    this.host = `${address}:${port}`;
    this.url = `${scheme}://${this.host}`;
    this.handler = handler;
  }

  /** `address` (IPv4) and `port` on which it listens; default: any free port. */
  static async start(
    handler: Handler,
    options: {
      readonly tls?: Certificate;
      /** PEM file of the authority whose certificate a client may show: `request.socket.authorized`. */
      readonly clientAuthority?: string;
      readonly address?: string;
      readonly port?: number;
    } = {},
  ): Promise<HttpServer> {
    const { tls, clientAuthority, address = '127.0.0.1', port = 0 } = options;
    const client = clientAuthority !== undefined && {
      ca: await readFile(clientAuthority),
      requestCert: true,
      rejectUnauthorized: false,
    };
    const server = tls
      ? createTlsServer({ cert: await readFile(tls.cert), key: await readFile(tls.key), ...client })
      : createServer();
    const sockets = new Set<Socket>();
    server.on('connection', (socket: Socket) => {
      sockets.add(socket);
      socket.once('close', () => sockets.delete(socket));
    });
    server.listen(port, address);
    await once(server, 'listening');
    const self = new HttpServer(server, sockets, tls ? 'https' : 'http', handler);
    server.on('connection', () => self.accepted++);
    server.on('request', (request: IncomingMessage, response: ServerResponse) =>
      self.#answer(request, response),
    );
    return self;
  }

  /** Open connections. */
  get connections(): number {
    return this.#sockets.size;
  }

  /** Answers CONNECT requests, as a proxy does. */
  onConnect(handler: (request: IncomingMessage, socket: Socket) => void): void {
    this.#server.removeAllListeners('connect');
    this.#server.on('connect', handler);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    if (this.#server.listening) await once(this.#server, 'close');
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const { method = '', url = '', headers } = request;
    this.requests.push({ method, url, headers });
    Promise.resolve(this.handler(request, response)).catch((error: unknown) => {
      response.destroy(error instanceof Error ? error : new Error(String(error)));
    });
  }
}
