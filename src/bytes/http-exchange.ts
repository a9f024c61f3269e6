/** A request and its response on the main thread, while a byte worker has the socket. Implements http/exchange.ts. */
import { WeirError } from '../util/errors.ts';
import type { Content } from '../util/content.ts';
import {
  HeaderList,
  type ExchangeRequest,
  type ExchangeResponse,
  type HeaderValues,
  type SendOptions,
} from '../http/exchange.ts';
import type { ByteThread } from './byte-workers.ts';
import type { DoneEvent, Head, SendCommand, WriteCommand } from './http-messages.ts';
import { sentPart } from './sent-part.ts';
import { fromWireError } from './wire-error.ts';

interface Call {
  readonly resolve: (done: DoneEvent) => void;
  readonly reject: (error: Error) => void;
  readonly onWaiting: SendOptions['onWaiting'];
}

type Part =
  | Omit<WriteCommand, 'exchange' | 'call' | 'head'>
  | Omit<SendCommand, 'exchange' | 'call' | 'head'>;

export class WorkerResponse implements ExchangeResponse {
  readonly #thread: ByteThread;
  readonly #exchange: number;
  readonly #headers = new HeaderList();
  /** What is sent with the next part; undefined if it has left or was not made yet. */
  #head: Head | undefined;
  readonly #calls = new Map<number, Call>();
  readonly #gone = new AbortController();
  #nextCall = 0;
  #status = 200;
  #isHeadSent = false;
  #isEnded = false;
  #isOver = false;
  #sent = 0;

  constructor(thread: ByteThread, exchange: number) {
    this.#thread = thread;
    this.#exchange = exchange;
  }

  get worker(): number {
    return this.#thread.id;
  }

  get statusCode(): number {
    return this.#status;
  }

  get headersSent(): boolean {
    return this.#isHeadSent;
  }

  get bytesSent(): number {
    return this.#sent;
  }

  get gone(): AbortSignal {
    return this.#gone.signal;
  }

  /** Nothing more will come from the worker. */
  get isSettled(): boolean {
    return this.#isOver && this.#calls.size === 0;
  }

  setHeader(name: string, value: string | number): void {
    this.#headers.set(name, value);
  }

  removeHeader(name: string): void {
    this.#headers.delete(name);
  }

  writeHead(status: number, headers: HeaderValues = {}): void {
    if (this.#isHeadSent) throw new WeirError('internal', 'the head has been sent');
    const all = new HeaderList(this.#headers);
    for (const [name, value] of Object.entries(headers)) all.set(name, value);
    this.#status = status;
    this.#head = { status, headers: all.entries };
  }

  end(body?: string | Uint8Array): void {
    if (this.#isOver || this.#isEnded) return;
    const head = this.#head;
    this.#head = undefined;
    this.#isHeadSent = true;
    if (body !== undefined) this.#sent += Buffer.byteLength(body);
    this.#thread.post('http', { kind: 'end', exchange: this.#exchange, head, body });
  }

  async write(bytes: Uint8Array): Promise<void> {
    const copy = new Uint8Array(bytes); // a message would copy all of the memory that it is a part of
    await this.#do({ kind: 'write', bytes: copy }, [copy.buffer]);
  }

  async send(content: Content, start: number, end: number, options: SendOptions = {}): Promise<number> {
    if ('pass' in content && content.worker !== this.worker) {
      throw new WeirError('internal', 'the blob passes through another byte worker');
    }
    const part = sentPart(content, start, end, options.presentIn);
    const { position } = await this.#do({ kind: 'send', ...part }, [], options);
    if (position < end) this.gone.throwIfAborted();
    return position;
  }

  async #do(
    part: Part,
    transfer: readonly ArrayBuffer[],
    { stop, onWaiting }: SendOptions = {},
  ): Promise<DoneEvent> {
    this.gone.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<DoneEvent>();
    const call = this.#nextCall++;
    const exchange = this.#exchange;
    const head = this.#head;
    this.#head = undefined;
    this.#calls.set(call, { resolve, reject, onWaiting });
    const onStop = (): void => this.#thread.post('http', { kind: 'stop', exchange, call });
    const signals = stop === undefined ? [this.gone] : [this.gone, stop];
    this.#thread.post('http', { ...part, exchange, call, head }, transfer);
    if (stop?.aborted === true) onStop();
    for (const signal of signals) signal.addEventListener('abort', onStop, { once: true });
    try {
      const done = await promise;
      if (!done.isHeadSent) this.#head = head;
      if (done.error === undefined) return done;
      if (done.error.code === 'aborted') this.gone.throwIfAborted(); // it may know the reason
      throw fromWireError(done.error);
    } finally {
      for (const signal of signals) signal.removeEventListener('abort', onStop);
    }
  }

  processing(): void {
    if (!this.#isOver) this.#thread.post('http', { kind: 'processing', exchange: this.#exchange });
  }

  interrupt(reason: Error): void {
    this.#gone.abort(reason);
  }

  closeShort(): void {
    if (!this.#isOver) this.#thread.post('http', { kind: 'closeShort', exchange: this.#exchange });
  }

  /** The worker has done a part. */
  onDone(done: DoneEvent): void {
    const call = this.#calls.get(done.call);
    this.#calls.delete(done.call);
    this.onSent(done.sent);
    this.#isHeadSent ||= done.isHeadSent;
    this.#isEnded ||= done.isEnded;
    call?.resolve(done);
  }

  onSent(bytes: number): void {
    this.#sent = Math.max(this.#sent, bytes);
  }

  onWaiting(call: number, position: number): void {
    this.#calls.get(call)?.onWaiting?.(position);
  }

  onGone(isComplete: boolean): void {
    this.#isOver = true;
    if (isComplete) return;
    this.#gone.abort(new WeirError('aborted', 'the client closed the connection'));
  }

  /** The worker has ended. */
  onLost(error: WeirError): void {
    this.#isOver = true;
    this.#gone.abort(error);
    for (const { reject } of this.#calls.values()) reject(error);
    this.#calls.clear();
  }
}

export interface WorkerExchange {
  readonly request: ExchangeRequest;
  readonly response: WorkerResponse;
}
