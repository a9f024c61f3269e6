/**
 * HTTP listeners whose sockets are in byte workers. Each worker listens on the same port, and the system spreads the
 * connections. Implements what servers ask for (http/exchange.ts). One for all workers of a node.
 */
import type { HttpListener, HttpListeners, ServerOptions } from '../http/exchange.ts';
import type { ListenAddress } from '../http/listen.ts';
import type { WeirError } from '../util/errors.ts';
import type { ByteThread, ByteWorkers } from './byte-workers.ts';
import type { HttpEvent, RequestEvent } from './http-messages.ts';
import { WorkerResponse } from './http-exchange.ts';
import { SharedPort } from './shared-port.ts';
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

export class Http implements HttpListeners {
  readonly #workers: ByteWorkers;
  readonly #inHand = new WeakMap<ByteThread, InHand>();
  readonly #listeners = new Map<number, ServerOptions>();
  #nextCall = 0;
  #nextListener = 0;

  constructor(workers: ByteWorkers) {
    this.#workers = workers;
    workers.onStart((thread) => this.#attach(thread));
  }

  listen(address: ListenAddress, options: ServerOptions): Promise<HttpListener> {
    const listener = this.#nextListener++;
    this.#listeners.set(listener, options);
    const { limits, onWarning } = options;
    return SharedPort.open(this.#workers, address, {
      open: (thread, { host, port }) =>
        this.#call(thread, (call) => {
          const maxConnections = Math.ceil(limits.maxConnections / this.#workers.threads.length);
          const all = { ...limits, maxConnections };
          thread.post('http', { kind: 'listen', call, listener, host, port, limits: all });
        }),
      close: (thread) => thread.post('http', { kind: 'close', listener }),
      destroy: async (thread) => {
        this.#listeners.delete(listener);
        await this.#call(thread, (call) => thread.post('http', { kind: 'destroy', call, listener }));
      },
      warn: onWarning,
    });
  }

  #call(thread: ByteThread, post: (call: number) => void): Promise<ListenAddress> {
    const { promise, resolve, reject } = Promise.withResolvers<ListenAddress>();
    const call = this.#nextCall++;
    this.#inHand.get(thread)?.calls.set(call, { resolve, reject });
    post(call);
    return promise;
  }

  #attach(thread: ByteThread): void {
    const inHand: InHand = { responses: new Map(), calls: new Map() };
    this.#inHand.set(thread, inHand);
    thread.handle('http', (event) => this.#receive(thread, inHand, event));
    thread.onLost((error) => lose(inHand, error));
  }

  #receive(thread: ByteThread, inHand: InHand, event: HttpEvent): void {
    const { responses, calls } = inHand;
    switch (event.kind) {
      case 'request':
        return this.#onRequest(thread, inHand, event);
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
    { responses }: InHand,
    { exchange, listener, ...request }: RequestEvent,
  ): void {
    const response = new WorkerResponse(thread, exchange);
    responses.set(exchange, response);
    this.#listeners.get(listener)?.onExchange({ request, response });
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
