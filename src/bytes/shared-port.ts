/** One address that all byte workers listen on: the system spreads the connections over them. */
import type { HttpListener } from '../http/exchange.ts';
import { probe, type ListenAddress } from '../http/listen.ts';
import { isWeirError, toError } from '../util/errors.ts';
import type { ByteThread, ByteWorkers } from './byte-workers.ts';

/** How one worker is told. */
export interface PortControl {
  /** @throws the system's error; WeirError `worker_lost` */
  open(thread: ByteThread, address: ListenAddress): Promise<ListenAddress>;
  /** Takes no more connections, and closes those that are idle. */
  close(thread: ByteThread): void;
  /** Closes all connections, too. */
  destroy(thread: ByteThread): Promise<void>;
  warn(message: string): void;
}

export class SharedPort implements HttpListener {
  readonly #workers: ByteWorkers;
  readonly #control: PortControl;
  /** Workers that were told to listen. */
  readonly #threads = new WeakSet<ByteThread>();
  #bound: ListenAddress;
  #isClosing = false;

  private constructor(workers: ByteWorkers, address: ListenAddress, control: PortControl) {
    this.#workers = workers;
    this.#control = control;
    this.#bound = address;
  }

  /** @throws the system's error: EADDRINUSE, EADDRNOTAVAIL */
  static async open(workers: ByteWorkers, address: ListenAddress, control: PortControl): Promise<SharedPort> {
    const port = new SharedPort(workers, address, control);
    try {
      // Workers share the port, and would share it with another program's.
      await probe(address);
      await port.#open();
    } catch (error) {
      await port[Symbol.asyncDispose]();
      throw error;
    }
    workers.onStart((thread) => port.#attach(thread));
    return port;
  }

  get host(): string {
    return this.#bound.host;
  }

  get port(): number {
    return this.#bound.port;
  }

  async #open(): Promise<void> {
    // One after the other: the first one may be given any port. A worker that replaces another is new here.
    for (let thread = this.#without(); thread !== undefined; thread = this.#without()) {
      this.#threads.add(thread);
      try {
        this.#bound = await this.#control.open(thread, this.#bound);
      } catch (error) {
        if (!isWeirError(error, 'worker_lost')) throw error;
      }
    }
  }

  /** A worker that was not told to listen yet. */
  #without(): ByteThread | undefined {
    return this.#workers.threads.find((thread) => !this.#threads.has(thread));
  }

  /** A worker takes the place of one that has ended. */
  #attach(thread: ByteThread): void {
    if (this.#isClosing || this.#threads.has(thread)) return;
    this.#threads.add(thread);
    const { host, port } = this.#bound;
    this.#control.open(thread, this.#bound).catch((error: unknown) => {
      this.#control.warn(
        `a new byte worker cannot listen on ${host} port ${port}: ${toError(error).message}`,
      );
    });
  }

  close(): void {
    this.#isClosing = true;
    for (const thread of this.#workers.threads) this.#control.close(thread);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosing = true;
    // A worker that has ended has closed them, too.
    await Promise.allSettled(this.#workers.threads.map((thread) => this.#control.destroy(thread)));
  }
}
