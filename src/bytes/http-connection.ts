/** A connection of a peer on the main thread, while a byte worker has its socket. */
import type { Connection, PeerServerOptions } from '../http/exchange.ts';
import type { ByteThread } from './byte-workers.ts';

export class WorkerConnection implements Connection {
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly options: PeerServerOptions;
  readonly #thread: ByteThread;
  readonly #id: number;
  readonly #closed: (() => void)[] = [];
  #isOver = false;

  constructor(
    thread: ByteThread,
    options: PeerServerOptions,
    from: { readonly connection: number; readonly remoteAddress: string; readonly remotePort: number },
  ) {
    this.#thread = thread;
    this.#id = from.connection;
    this.options = options;
    this.remoteAddress = from.remoteAddress;
    this.remotePort = from.remotePort;
  }

  /** It is closed, or is being closed: what still comes from it does not count. */
  get isOver(): boolean {
    return this.#isOver;
  }

  onClose(callback: () => void): void {
    this.#closed.push(callback);
  }

  admit(): void {
    this.#thread.post('http', { kind: 'admit', connection: this.#id });
  }

  known(): void {
    this.#thread.post('http', { kind: 'known', connection: this.#id });
  }

  destroy(): void {
    if (!this.#isOver) this.#thread.post('http', { kind: 'cut', connection: this.#id });
    this.#isOver = true;
  }

  /** Its socket is closed. */
  closed(): void {
    this.#isOver = true;
    for (const callback of this.#closed.splice(0)) callback();
  }
}
