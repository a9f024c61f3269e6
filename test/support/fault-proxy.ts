/**
 * A reverse proxy in front of a registry that makes it misbehave by rules, and counts the bytes that it really sent.
 *
 * It speaks HTTP on both sides and passes headers on unchanged, Host apart, so that Range, redirects and
 * challenges work as without it. A fault acts on the answer's way to the client.
 */
import { once } from 'node:events';
import {
  createServer,
  request as httpRequest,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { readRules, RuleBook, type Fault, type Rule } from './fault-rules.ts';

export interface Exchange {
  readonly method: string;
  readonly path: string;
  readonly range: string | undefined;
  readonly authorization: string | undefined;
  readonly userAgent: string;
  /** The fault that the rules chose. */
  readonly fault: Fault['kind'] | undefined;
  status: number;
  /** Bytes of the body handed to the client's socket. */
  bytes: number;
}

export class FaultProxy implements AsyncDisposable {
  /** `127.0.0.1:PORT`. */
  readonly host: string;
  readonly url: string;
  readonly #server: Server;
  readonly #upstream: URL;
  #rules: RuleBook;
  #exchanges: Exchange[] = [];

  private constructor(server: Server, upstream: string, rules: readonly Rule[]) {
    const { address, port } = server.address() as AddressInfo;
    this.host = `${address}:${port}`;
    this.url = `http://${this.host}`;
    this.#server = server;
    this.#upstream = new URL(upstream);
    this.#rules = new RuleBook(rules);
    server.on('request', (request, response) => void this.#serve(request, response));
  }

  /** Starts in front of the registry at `upstream`, on a free port or on the given one. */
  static async start(
    upstream: string,
    rules: readonly Rule[] = [],
    port = 0,
    address = '127.0.0.1',
  ): Promise<FaultProxy> {
    const server = createServer({ keepAliveTimeout: 60_000 }).listen(port, address);
    await once(server, 'listening');
    return new FaultProxy(server, upstream, rules);
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** From now on these rules hold, with fresh counts. */
  setRules(...rules: readonly Rule[]): void {
    this.#rules = new RuleBook(rules);
  }

  /** Exchanges whose path matches, in the order in which they began. */
  exchanges(path: RegExp = /^/): readonly Exchange[] {
    return this.#exchanges.filter((exchange) => path.test(exchange.path));
  }

  /** Bytes of bodies sent for paths that match. */
  bytes(path: RegExp = /^/): number {
    return this.exchanges(path).reduce((sum, exchange) => sum + exchange.bytes, 0);
  }

  clear(): void {
    this.#exchanges = [];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    if (this.#server.listening) await once(this.#server, 'close');
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = 'GET', url = '/' } = request;
    if (method === 'PUT' && url === '/_rules') {
      this.setRules(...readRules(await text(request)));
      return void response.end();
    }
    const fault = this.#rules.decide(method, url);
    const { range, authorization, 'user-agent': userAgent = '' } = request.headers;
    const asked = { method, path: url, range, authorization, userAgent };
    const exchange: Exchange = { ...asked, fault: fault?.kind, status: 0, bytes: 0 };
    this.#exchanges.push(exchange);
    request.on('error', () => undefined);
    response.on('error', () => undefined);
    if (fault?.kind === 'reset') return void request.socket.resetAndDestroy();
    if (fault?.kind === 'stall') return;
    if (fault?.kind === 'answer') {
      exchange.status = fault.status;
      response.writeHead(fault.status, fault.headers);
      return void response.end(fault.body);
    }
    if (fault?.kind === 'delay') await delay(fault.ms);
    this.#forward(request, response, fault, exchange);
  }

  #forward(
    request: IncomingMessage,
    response: ServerResponse,
    fault: Fault | undefined,
    exchange: Exchange,
  ): void {
    const { hostname, port, host } = this.#upstream;
    const { method, url: path } = request;
    const headers: OutgoingHttpHeaders = { ...request.headers, host };
    if (fault?.kind === 'ignore-range') delete headers['range'];
    const onward = httpRequest({ hostname, port, method, path, headers, agent: false });
    onward.on('error', () => request.socket.resetAndDestroy()); // the registry is down: so is its proxy
    response.on('close', () => onward.destroy());
    onward.on('response', (answer) => {
      exchange.status = answer.statusCode ?? 0;
      response.writeHead(exchange.status, answer.rawHeaders);
      response.flushHeaders();
      // A registry that dies in mid-body leaves a connection that is closed, not reset.
      sendBody(answer, response, fault, exchange).catch(() => request.socket.end());
    });
    request.pipe(onward);
  }
}

/** Passes the body on, as the fault says. Rejects if the registry or the client broke off. */
async function sendBody(
  answer: IncomingMessage,
  response: ServerResponse,
  fault: Fault | undefined,
  exchange: Exchange,
): Promise<void> {
  const limit = fault !== undefined && isEnding(fault) ? fault.at : Infinity;
  const start = performance.now();
  const closed = new AbortController();
  response.once('close', () => closed.abort());
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    if (fault?.kind === 'flip') flip(chunk, fault.at - exchange.bytes);
    const part = chunk.subarray(0, limit - exchange.bytes);
    exchange.bytes += part.length;
    if (!response.write(part)) await once(response, 'drain', { signal: closed.signal });
    if (exchange.bytes >= limit && fault !== undefined) return endAt(fault, response);
    if (fault?.kind === 'throttle') {
      const due = (exchange.bytes / fault.bytesPerSecond) * 1000;
      await delay(Math.max(0, due - (performance.now() - start)));
    }
  }
  response.end();
}

type Ending = Extract<Fault, { readonly kind: 'reset-at' | 'stall-at' | 'cut' }>;

function isEnding(fault: Fault): fault is Ending {
  return fault.kind === 'reset-at' || fault.kind === 'stall-at' || fault.kind === 'cut';
}

async function endAt(fault: Fault, response: ServerResponse): Promise<void> {
  const { socket } = response;
  if (fault.kind === 'stall-at' || socket === null) return;
  await delay(50); // let written bytes leave the kernel first: an RST drops queued ones
  if (fault.kind === 'cut') socket.end();
  else socket.resetAndDestroy();
}

function flip(chunk: Buffer, offset: number): void {
  const byte = chunk[offset];
  if (byte !== undefined) chunk[offset] = byte ^ 1;
}
