/** The part of a byte worker that listens, and answers requests as the main thread says. */
import { once } from 'node:events';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { nodeOptionsOf, type ServerLimits } from '../http/exchange.ts';
import { assertNever } from '../util/errors.ts';
import { listening } from '../http/listen.ts';
import { createLocalServer } from '../http/local-server.ts';
import { BodyBuffers } from './body-buffers.ts';
import type { Part, Post } from './byte-worker.ts';
import type { ChunkPlaces } from './chunk-places.ts';
import { Answer, connectionGone } from './http-answer.ts';
import type { ExchangeCommand, HttpCommand, ListenCommand } from './http-messages.ts';
import { toWireError } from './wire-error.ts';

interface Listening {
  readonly server: Server;
  readonly closed: Promise<unknown>;
}

export class HttpPart implements Part<'http'> {
  readonly #post: Post<'http'>;
  readonly #places: ChunkPlaces;
  readonly #buffers = new BodyBuffers();
  readonly #servers = new Map<number, Listening>();
  /** By their number. */
  readonly #answers = new Map<number, Answer>();
  #next = 0;

  constructor(post: Post<'http'>, places: ChunkPlaces) {
    this.#post = post;
    this.#places = places;
  }

  receive(command: HttpCommand): void {
    switch (command.kind) {
      case 'listen':
        void this.#listen(command);
        return;
      case 'close':
        this.#close(command.listener);
        return;
      case 'destroy':
        void this.#destroy(command.listener).then(() => this.#post({ kind: 'closed', call: command.call }));
        return;
      case 'write':
      case 'send':
      case 'end':
      case 'stop':
      case 'processing':
      case 'closeShort':
        return this.#do(command);
      default:
        assertNever(command);
    }
  }

  #do(command: ExchangeCommand): void {
    const answer = this.#answers.get(command.exchange);
    if (answer !== undefined) return answer.do(command);
    // The response was over before the main thread knew.
    if (command.kind !== 'send' && command.kind !== 'write') return;
    const { exchange, call } = command;
    const position = command.kind === 'send' ? command.start : 0;
    const error = toWireError(connectionGone());
    const nothing = { sent: 0, isHeadSent: false, isEnded: false };
    this.#post({ kind: 'done', exchange, call, ...nothing, position, error });
  }

  /** Never rejects. */
  async #listen(command: ListenCommand): Promise<void> {
    const { call, listener, host, port, limits } = command;
    const server = this.#create(listener, limits);
    try {
      // Known before it listens: a connection may come at once.
      this.#servers.set(listener, { server, closed: once(server, 'close') });
      await listening(server, host, port, { reusePort: true });
      const bound = server.address() as AddressInfo;
      this.#post({ kind: 'listening', call, host: bound.address, port: bound.port });
    } catch (error) {
      this.#servers.delete(listener);
      this.#post({ kind: 'failed', call, error: toWireError(error) });
    }
  }

  #create(listener: number, limits: ServerLimits): Server {
    const server = createLocalServer(nodeOptionsOf(limits), (request, response) =>
      this.#onRequest(listener, request, response, limits),
    );
    server.maxConnections = limits.maxConnections;
    return server;
  }

  #onRequest(
    listener: number,
    request: IncomingMessage,
    response: ServerResponse,
    { clientTimeout }: ServerLimits,
  ): void {
    const exchange = this.#next++;
    const answer = new Answer(request, response, {
      exchange,
      post: this.#post,
      buffers: this.#buffers,
      places: this.#places,
      clientTimeout,
      onOver: () => this.#answers.delete(exchange),
    });
    this.#answers.set(exchange, answer);
    const { method = '', url = '', headers, httpVersion, socket } = request;
    const { localAddress = '', remoteAddress = '', remotePort = 0 } = socket;
    const addresses = { localAddress, remoteAddress, remotePort };
    this.#post({ kind: 'request', listener, exchange, method, url, headers, httpVersion, ...addresses });
  }

  #close(listener: number): void {
    const server = this.#servers.get(listener)?.server;
    server?.close();
    server?.closeIdleConnections();
  }

  async #destroy(listener: number): Promise<void> {
    const found = this.#servers.get(listener);
    if (found === undefined) return;
    this.#servers.delete(listener);
    found.server.close();
    found.server.closeAllConnections();
    await found.closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#servers.keys()].map((listener) => this.#destroy(listener)));
  }
}
