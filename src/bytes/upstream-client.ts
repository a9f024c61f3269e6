/**
 * Requests for blobs, as the main thread has byte workers send them. Implements what upstream/ asks for. One for all of a
 * node's byte workers.
 */
import { WeirError } from '../util/errors.ts';
import { proxyVariables } from '../upstream/proxy.ts';
import { abortError } from '../upstream/failure.ts';
import type {
  BlobResponse,
  BlobSettings,
  BlobTransport,
  PassThroughBlob,
  PassWish,
} from '../upstream/blob-transport.ts';
import { Progress } from '../util/progress.ts';
import { TokenBucket } from '../util/token-bucket.ts';
import type { OutgoingRequest, Transport } from '../upstream/transport.ts';
import type { ByteThread, ByteWorkers } from './byte-workers.ts';
import type { UpstreamEvent } from './upstream-messages.ts';
import { UpstreamResponse, type ReadEvent } from './upstream-response.ts';
import { fromWireError, toWireError } from './wire-error.ts';

/** A request that waits for its head, or a body that is being read. */
interface Call {
  receive(event: UpstreamEvent): void;
  lost(error: WeirError): void;
}

/** Of all clients of this process: a test has several workers in one thread. */
let nextPass = 0;

export class UpstreamClient implements BlobTransport {
  readonly #workers: ByteWorkers;
  readonly #calls = new WeakMap<ByteThread, Map<number, Call>>();
  readonly #limit = TokenBucket.memory();
  #settings: BlobSettings | undefined;
  #nextCall = 0;

  constructor(workers: ByteWorkers) {
    this.#workers = workers;
  }

  configure(settings: BlobSettings): void {
    const { connections, environment } = settings;
    const share = Math.max(1, Math.floor(connections / this.#workers.threads.length));
    const isFirst = this.#settings === undefined;
    this.#settings = { ...settings, connections: share, environment: proxyVariables(environment) };
    if (isFirst) this.#attachAll();
    else for (const thread of this.#workers.threads) this.#configure(thread);
  }

  #attachAll(): void {
    this.#workers.onStart((thread) => {
      const calls = new Map<number, Call>();
      this.#calls.set(thread, calls);
      thread.handle('upstream', (event) => calls.get(event.call)?.receive(event));
      thread.onLost((error) => {
        for (const call of calls.values()) call.lost(error);
      });
      this.#configure(thread);
    });
  }

  #configure(thread: ByteThread): void {
    if (this.#settings !== undefined) {
      const limit = this.#limit;
      thread.post('upstream', { kind: 'configure', settings: this.#settings, limit });
    }
  }

  /** Limits bodies from now on, also those that are being read. @param rate bytes per second; undefined: no limit */
  limit(rate: number | undefined): void {
    TokenBucket.setRate(this.#limit, rate);
  }

  via(worker: number | undefined): Transport<BlobResponse> {
    if (worker !== undefined) {
      const thread = this.#workers.get(worker);
      return { send: (request) => this.#send(thread, request, 'worker_lost') };
    }
    const thread = this.#workers.next();
    return { send: (request) => this.#send(thread, request, 'upstream_cut') };
  }

  pass(worker: number | undefined, { size, heldBack, digest, prefix }: PassWish): PassThroughBlob {
    const thread = worker === undefined ? this.#workers.next() : this.#workers.get(worker);
    const pass = nextPass++;
    const { memory: progress } = new Progress();
    const options = { digest, heldBack, progress, prefix };
    thread.post('upstream', { kind: 'openPass', pass, options });
    return {
      content: { pass, worker: thread.id, size, progress, heldBack },
      sink: { kind: 'pass', pass },
      skip: (to) => thread.post('upstream', { kind: 'skip', pass, to }),
      finish: () => thread.post('upstream', { kind: 'finish', pass }),
      close: () => thread.post('upstream', { kind: 'closePass', pass }),
    };
  }

  close(): void {
    for (const thread of this.#workers.threads) thread.post('upstream', { kind: 'close' });
  }

  /** @param lost the code of the error if the worker ends: another one may be asked, or not */
  #send(
    thread: ByteThread,
    { signal, ...request }: OutgoingRequest,
    lost: 'worker_lost' | 'upstream_cut',
  ): Promise<BlobResponse> {
    const call = this.#nextCall++;
    const { promise, resolve, reject } = Promise.withResolvers<BlobResponse>();
    if (signal?.aborted) {
      reject(abortError(signal));
      return promise;
    }
    const calls = this.#calls.get(thread);
    if (calls === undefined || this.#workers.find(thread.id) !== thread) {
      reject(lostError(lost, request.origin));
      return promise;
    }
    const end = (): void => {
      calls.delete(call);
      signal?.removeEventListener('abort', onAbort);
    };
    const onAbort = (): void => {
      if (signal === undefined) return;
      end();
      const error = abortError(signal);
      thread.post('upstream', { kind: 'abort', call, error: toWireError(error) });
      reject(error);
    };
    calls.set(call, {
      receive: (event) => {
        if (event.kind !== 'head' && event.kind !== 'failed') return;
        end();
        if (event.kind === 'failed') return reject(fromWireError(event.error));
        const { status, headers } = event;
        resolve(
          new UpstreamResponse({
            call,
            origin: request.origin,
            status,
            headers,
            signal,
            worker: thread.id,
            post: (command) => thread.post('upstream', command),
            begin: (body) => calls.set(call, receiverOf(body)),
            isLost: () => this.#workers.find(thread.id) !== thread,
            end: () => void calls.delete(call),
          }),
        );
      },
      lost: () => {
        end();
        reject(lostError(lost, request.origin));
      },
    });
    signal?.addEventListener('abort', onAbort, { once: true });
    thread.post('upstream', { kind: 'send', call, request });
    return promise;
  }
}

function receiverOf(body: { receive(event: ReadEvent): void; lost(): void }): Call {
  return {
    receive: (event) => {
      if (event.kind !== 'head' && event.kind !== 'failed') body.receive(event);
    },
    lost: () => body.lost(),
  };
}

function lostError(code: 'worker_lost' | 'upstream_cut', origin: string): WeirError {
  return new WeirError(code, `${origin}: the byte worker that asked it has ended`);
}
