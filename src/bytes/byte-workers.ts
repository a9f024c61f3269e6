/** The main thread's side of the byte workers: starts them, spreads work over them, and replaces one that ends. */
import { type MessagePort, type Transferable, Worker } from 'node:worker_threads';
import { toError, WeirError } from '../util/errors.ts';
import type { Down, PartName, ToMain, ToWorker, Up } from './messages.ts';
import { fromWireError } from './wire-error.ts';

type Handlers = { [Part in PartName]?: (message: ToMain[Part]) => void };

/** One worker, as the main thread sees it. */
export class ByteThread {
  /** Names it: no other one has had it, so a place of a worker that ended is not taken for another's. */
  readonly id: number;
  readonly #port: MessagePort | Worker;
  readonly #handlers: Handlers = {};
  readonly #lost = new Set<(error: WeirError) => void>();
  readonly #ended: Promise<void>;
  #error: WeirError | undefined;
  #isAlive = true;
  #isEnding = false;
  #isStarted = false;
  #tid: number | undefined;

  constructor(id: number, port: MessagePort | Worker) {
    this.id = id;
    this.#port = port;
    port.on('message', (up: Up) => this.#receive(up));
    if (port instanceof Worker) port.on('error', (error) => (this.#error ??= lost(id, toError(error))));
    // Not once() of node:events: that would reject at an error, which comes before the end.
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#ended = promise;
    const end = (): void => {
      this.#end();
      resolve();
    };
    if (port instanceof Worker) port.on('exit', end);
    else port.on('close', end);
  }

  post<Part extends PartName>(
    part: Part,
    message: ToWorker[Part],
    transfer: readonly Transferable[] = [],
  ): void {
    this.#post({ part, message } as Down, transfer);
  }

  #post(down: Down, transfer: readonly Transferable[] = []): void {
    this.#port.postMessage(down, transfer as Transferable[]);
  }

  /** Takes the messages of one part. */
  handle<Part extends PartName>(part: Part, handler: (message: ToMain[Part]) => void): void {
    this.#handlers[part] = handler as Handlers[Part];
  }

  /** @param callback called once, when the thread has ended; not if it was stopped in order */
  onLost(callback: (error: WeirError) => void): void {
    this.#lost.add(callback);
  }

  get isStarted(): boolean {
    return this.#isStarted;
  }

  /** The kernel's number of its thread; undefined before it has started, and without /proc. */
  get tid(): number | undefined {
    return this.#tid;
  }

  /** Whether it was heard of since the last {@link ping}. */
  get isAlive(): boolean {
    return this.#isAlive;
  }

  /** Whether it has been killed. */
  get isEnding(): boolean {
    return this.#isEnding;
  }

  ping(): void {
    this.#isAlive = false;
    this.#post({ part: 'ping' });
  }

  /** Ends it in order. */
  async stop(): Promise<void> {
    this.#lost.clear();
    this.#post({ part: 'stop' });
    await this.#ended;
  }

  /** Ends it at once, as a defect would. */
  async kill(): Promise<void> {
    this.#isEnding = true;
    if (this.#port instanceof Worker) await this.#port.terminate();
    else this.#port.close();
  }

  #receive(up: Up): void {
    this.#isAlive = true;
    if (up.part === 'alive') return;
    if (up.part === 'started') {
      this.#isStarted = true;
      this.#tid = up.tid;
      return;
    }
    if (up.part === 'failed') this.#error ??= lost(this.id, fromWireError(up.error));
    else (this.#handlers[up.part] as ((message: unknown) => void) | undefined)?.(up.message);
  }

  #end(): void {
    const error = (this.#error ??= lost(this.id));
    const callbacks = [...this.#lost];
    this.#lost.clear();
    for (const callback of callbacks) callback(error);
  }
}

function lost(id: number, cause?: Error): WeirError {
  const why = cause === undefined ? '' : `: ${cause.message}`;
  return new WeirError('worker_lost', `byte worker ${id} has ended${why}`, { cause });
}

export interface ByteWorkersOptions {
  /** Threads, at least 1. */
  readonly count: number;
  /** Default: a thread of its own for each worker. Tests that look inside run a worker in their own thread. */
  readonly spawn?: () => Worker | MessagePort;
  /** A worker has ended, and another takes its place. */
  readonly onLost?: (error: WeirError) => void;
}

export class ByteWorkers implements AsyncDisposable {
  readonly #threads: ByteThread[] = [];
  readonly #options: ByteWorkersOptions;
  readonly #started = new Set<(thread: ByteThread) => void>();
  #stopping = false;
  #next = 0;
  #nextId = 0;

  constructor(options: ByteWorkersOptions) {
    this.#options = options;
    for (let i = 0; i < options.count; i++) this.#start(i);
  }

  /** All workers. */
  get threads(): readonly ByteThread[] {
    return this.#threads;
  }

  /** The worker with this `id`, unless it has ended. */
  find(id: number): ByteThread | undefined {
    return this.#threads.find((each) => each.id === id);
  }

  /** The worker with this `id`. @throws WeirError `worker_lost` */
  get(id: number): ByteThread {
    const thread = this.find(id);
    if (thread === undefined) throw lost(id);
    return thread;
  }

  /** A worker for new work: each in turn. */
  next(): ByteThread {
    const [first, ...others] = this.#threads;
    if (first === undefined) throw new WeirError('internal', 'there are no byte workers');
    this.#next = (this.#next + 1) % this.#threads.length;
    return others[this.#next - 1] ?? first;
  }

  /** @param callback called for each worker, also for those that replace others */
  onStart(callback: (thread: ByteThread) => void): void {
    this.#started.add(callback);
    for (const thread of this.#threads) callback(thread);
  }

  #start(index: number): void {
    const thread = new ByteThread(this.#nextId++, (this.#options.spawn ?? newThread)());
    this.#threads[index] = thread;
    thread.onLost((error) => {
      if (this.#stopping) return;
      this.#start(index); // first, so that what is repeated finds the new one
      this.#options.onLost?.(error);
    });
    for (const callback of this.#started) callback(thread);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping = true;
    await Promise.all(this.#threads.map((thread) => thread.stop()));
  }
}

function newThread(): Worker {
  const isBundled = !import.meta.url.endsWith('.ts');
  const entry = new URL(isBundled ? './byte-thread.mjs' : './thread.ts', import.meta.url);
  return new Worker(entry, { name: 'weir-bytes' });
}
