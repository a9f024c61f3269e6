/**
 * HTTP listeners whose sockets are in byte workers. Each worker listens on the same port, and the system spreads the
 * connections. Implements what servers ask for (http/exchange.ts). One for all workers of a node.
 */
import type { HttpListener, HttpListeners, PeerServerOptions, ServerOptions } from '../http/exchange.ts';
import { probe, type ListenAddress } from '../http/listen.ts';
import { isWeirError, toError, type WeirError } from '../util/errors.ts';
import type { ByteThread, ByteWorkers } from './byte-workers.ts';
import type { ConnectionEvent, HttpEvent, PeerOptions, RequestEvent } from './http-messages.ts';
import { WorkerConnection } from './http-connection.ts';
import { WorkerResponse } from './http-exchange.ts';
import { fromWireError } from './wire-error.ts';

interface Call {
  readonly resolve: (bound: ListenAddress) => void;
  readonly reject: (error: Error) => void;
}

/** What one worker has in hand. */
interface InHand {
  /** By their number in the worker. */
  readonly responses: Map<number, WorkerResponse>;
  readonly connections: Map<number, WorkerConnection>;
  readonly calls: Map<number, Call>;
}

interface Listener {
  readonly options: ServerOptions | PeerServerOptions;
  /** Undefined until the first worker listens. */
  bound: ListenAddress | undefined;
  /** Workers that were told to listen. */
  readonly threads: WeakSet<ByteThread>;
  isClosing: boolean;
}

export class Http implements HttpListeners {
  readonly #workers: ByteWorkers;
  readonly #inHand = new WeakMap<ByteThread, InHand>();
  readonly #listeners = new Map<number, Listener>();
  #nextCall = 0;
  #nextListener = 0;

  constructor(workers: ByteWorkers) {
    this.#workers = workers;
    workers.onStart((thread) => this.#attach(thread));
  }

  listen(address: ListenAddress, options: ServerOptions): Promise<HttpListener> {
    return this.#listen(address, options);
  }

  listenToPeers(address: ListenAddress, options: PeerServerOptions): Promise<HttpListener> {
    return this.#listen(address, options);
  }

  async #listen(address: ListenAddress, options: Listener['options']): Promise<HttpListener> {
    // Workers share the port, and would share it with another program's.
    await probe(address);
    const id = this.#nextListener++;
    const listener: Listener = { options, bound: undefined, threads: new WeakSet(), isClosing: false };
    this.#listeners.set(id, listener);
    try {
      // One after the other: the first one may be given any port. A worker that replaces another is new here.
      for (let thread = this.#without(listener); thread !== undefined; thread = this.#without(listener)) {
        try {
          listener.bound = await this.#listenIn(thread, id, listener.bound ?? address, listener);
        } catch (error) {
          if (!isWeirError(error, 'worker_lost')) throw error;
        }
      }
      return {
        ...(listener.bound ?? address),
        close: () => this.#close(id),
        [Symbol.asyncDispose]: () => this.#destroy(id),
      };
    } catch (error) {
      await this.#destroy(id);
      throw error;
    }
  }

  /** A worker that was not told to listen yet. */
  #without({ threads }: Listener): ByteThread | undefined {
    return this.#workers.threads.find((thread) => !threads.has(thread));
  }

  #listenIn(
    thread: ByteThread,
    id: number,
    { host, port }: ListenAddress,
    { threads, options }: Listener,
  ): Promise<ListenAddress> {
    threads.add(thread);
    const { limits } = options;
    const peers = 'onAccepted' in options ? peerOptionsOf(options) : undefined;
    const maxConnections = Math.ceil(limits.maxConnections / this.#workers.threads.length);
    return this.#call(thread, (call) => {
      const all = { ...limits, maxConnections };
      thread.post('http', { kind: 'listen', call, listener: id, host, port, limits: all, peers });
    });
  }

  #call(thread: ByteThread, post: (call: number) => void): Promise<ListenAddress> {
    const { promise, resolve, reject } = Promise.withResolvers<ListenAddress>();
    const call = this.#nextCall++;
    this.#inHand.get(thread)?.calls.set(call, { resolve, reject });
    post(call);
    return promise;
  }

  #close(id: number): void {
    const listener = this.#listeners.get(id);
    if (listener !== undefined) listener.isClosing = true;
    for (const thread of this.#workers.threads) thread.post('http', { kind: 'close', listener: id });
  }

  async #destroy(listener: number): Promise<void> {
    this.#listeners.delete(listener);
    const closed = this.#workers.threads.map((thread) =>
      this.#call(thread, (call) => thread.post('http', { kind: 'destroy', call, listener })),
    );
    await Promise.allSettled(closed); // a worker that has ended has closed them, too
  }

  #attach(thread: ByteThread): void {
    const inHand: InHand = { responses: new Map(), connections: new Map(), calls: new Map() };
    this.#inHand.set(thread, inHand);
    thread.handle('http', (event) => this.#receive(thread, inHand, event));
    thread.onLost((error) => lose(inHand, error));
    // Instead of a worker that has ended.
    for (const [id, listener] of this.#listeners) {
      const { bound } = listener;
      if (bound === undefined || listener.isClosing) continue;
      this.#listenIn(thread, id, bound, listener).catch((error: unknown) => {
        const where = `${bound.host} port ${bound.port}`;
        listener.options.onWarning(`a new byte worker cannot listen on ${where}: ${toError(error).message}`);
      });
    }
  }

  #receive(thread: ByteThread, inHand: InHand, event: HttpEvent): void {
    const { responses, calls } = inHand;
    switch (event.kind) {
      case 'request':
        return this.#onRequest(thread, inHand, event);
      case 'accepted':
      case 'secured':
      case 'flooded':
      case 'disconnected':
        return this.#onConnection(thread, inHand, event);
      case 'listening':
        return settle(calls, event.call)?.resolve({ host: event.host, port: event.port });
      case 'closed':
        return settle(calls, event.call)?.resolve({ host: '', port: 0 });
      case 'failed':
        return settle(calls, event.call)?.reject(fromWireError(event.error));
      case 'done':
        responses.get(event.exchange)?.onDone(event);
        break;
      case 'gone':
        responses.get(event.exchange)?.onGone(event.isComplete);
        break;
      case 'sent':
        return responses.get(event.exchange)?.onSent(event.sent);
      case 'waiting':
        return responses.get(event.exchange)?.onWaiting(event.call, event.position);
    }
    if (responses.get(event.exchange)?.isSettled === true) responses.delete(event.exchange);
  }

  #onRequest(
    thread: ByteThread,
    { responses, connections }: InHand,
    { exchange, listener, connection: id, ...request }: RequestEvent,
  ): void {
    const response = new WorkerResponse(thread, exchange);
    responses.set(exchange, response);
    const options = this.#listeners.get(listener)?.options;
    if (options === undefined) return;
    if (!('onAccepted' in options)) return options.onExchange({ request, response });
    const connection = id === undefined ? undefined : connections.get(id);
    if (connection?.isOver === false) options.onExchange({ request, response }, connection);
  }

  #onConnection(thread: ByteThread, { connections }: InHand, event: ConnectionEvent): void {
    if (event.kind === 'accepted') {
      const options = this.#listeners.get(event.listener)?.options;
      if (options === undefined || !('onAccepted' in options)) return;
      const accepted = new WorkerConnection(thread, options, event);
      connections.set(event.connection, accepted);
      if (!options.onAccepted(accepted)) accepted.destroy();
      else if (options.tls === undefined) accepted.admit();
      return;
    }
    const connection = connections.get(event.connection);
    if (event.kind === 'disconnected') {
      connections.delete(event.connection);
      connection?.closed();
      return;
    }
    if (connection === undefined || connection.isOver) return;
    const { onFlooded, onSecured } = connection.options;
    if (event.kind === 'flooded') return onFlooded(connection);
    if (onSecured(connection, event.certificate)) connection.admit();
    else connection.destroy();
  }
}

function settle(calls: Map<number, Call>, call: number): Call | undefined {
  const found = calls.get(call);
  calls.delete(call);
  return found;
}

function peerOptionsOf({ tls, maxRate, maxAhead }: PeerServerOptions): PeerOptions {
  return { tls, maxRate, maxAhead };
}

function lose({ responses, connections, calls }: InHand, error: WeirError): void {
  for (const response of responses.values()) response.onLost(error);
  for (const connection of connections.values()) connection.closed();
  connections.clear();
  for (const { reject } of calls.values()) reject(error);
  responses.clear();
  calls.clear();
}
