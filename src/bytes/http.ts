/**
 * HTTP listeners whose sockets are in byte workers. Each worker listens on the same port, and the system spreads the
 * connections. Implements what servers ask for (http/exchange.ts).
 */
import type { HttpListener, HttpListeners, ServerOptions } from '../http/exchange.ts';
import { probe, type ListenAddress } from '../http/listen.ts';
import { toError, type WeirError } from '../util/errors.ts';
import type { ByteThread, ByteWorkers } from './byte-workers.ts';
import type { HttpEvent, RequestEvent } from './http-messages.ts';
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
  readonly calls: Map<number, Call>;
}

interface Listener {
  readonly options: ServerOptions;
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

  async listen(address: ListenAddress, options: ServerOptions): Promise<HttpListener> {
    // Workers share the port, and would share it with another program's.
    await probe(address);
    const id = this.#nextListener++;
    const listener: Listener = { options, bound: undefined, threads: new WeakSet(), isClosing: false };
    this.#listeners.set(id, listener);
    try {
      // One after the other: the first one may be given any port.
      for (const thread of this.#workers.threads) {
        if (listener.threads.has(thread)) continue;
        listener.bound = await this.#listenIn(thread, id, listener.bound ?? address, listener);
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

  #listenIn(
    thread: ByteThread,
    id: number,
    { host, port }: ListenAddress,
    { threads, options: { limits } }: Listener,
  ): Promise<ListenAddress> {
    threads.add(thread);
    const maxConnections = Math.ceil(limits.maxConnections / this.#workers.threads.length);
    return this.#call(thread, (call) => {
      const all = { ...limits, maxConnections };
      thread.post('http', { kind: 'listen', call, listener: id, host, port, limits: all });
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
    const inHand: InHand = { responses: new Map(), calls: new Map() };
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

  #receive(thread: ByteThread, { responses, calls }: InHand, event: HttpEvent): void {
    switch (event.kind) {
      case 'request':
        return this.#onRequest(thread, responses, event);
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
        responses.get(event.exchange)?.onGone();
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
    responses: Map<number, WorkerResponse>,
    { exchange, listener, ...request }: RequestEvent,
  ): void {
    const response = new WorkerResponse(thread, exchange);
    const options = this.#listeners.get(listener)?.options;
    responses.set(exchange, response);
    options?.onExchange({ request, response });
  }
}

function settle(calls: Map<number, Call>, call: number): Call | undefined {
  const found = calls.get(call);
  calls.delete(call);
  return found;
}

function lose({ responses, calls }: InHand, error: WeirError): void {
  for (const response of responses.values()) response.onLost(error);
  for (const { reject } of calls.values()) reject(error);
  responses.clear();
  calls.clear();
}
