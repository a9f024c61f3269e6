/**
 * Detects an input that never ends. An endless loop blocks this thread, so another one watches: it writes the input
 * to a file, reports it, and ends the process.
 */
import { Worker } from 'node:worker_threads';
import { MAX_INPUT } from './mutate.ts';

/** Milliseconds: far above the limit of an input, also on a busy machine. */
const HANG = 20_000;

export class Watchdog implements AsyncDisposable {
  /** The number of the running input (0 for none), and its length. */
  readonly #state = new Int32Array(new SharedArrayBuffer(8));
  readonly #bytes = new Uint8Array(new SharedArrayBuffer(MAX_INPUT));
  readonly #thread: Worker;
  #count = 0;

  constructor(target: string, folder: string, hang: number = HANG) {
    const workerData = { state: this.#state, bytes: this.#bytes, target, folder, hang };
    this.#thread = new Worker(new URL('./watchdog-thread.ts', import.meta.url), {
      workerData,
      execArgv: [], // -e or --import of this thread would not work
    });
    this.#thread.unref();
  }

  begin(input: Buffer): void {
    const shown = input.subarray(0, MAX_INPUT);
    this.#bytes.set(shown);
    this.#state[1] = shown.length;
    Atomics.store(this.#state, 0, (this.#count = (this.#count % 0x3fff_ffff) + 1));
  }

  end(): void {
    Atomics.store(this.#state, 0, 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#thread.terminate();
  }
}
