/**
 * Notices byte workers that hang or end again and again.
 *
 * A worker that hangs is ended: its listening sockets close, and what it had in hand is repeated by others. If it cannot be
 * ended it hangs in a system call, as on a disk that does not answer. The process has to end then, so that runtimes pull
 * directly. Time for which the thread waits for a core does not count.
 */
import { readFileSync } from 'node:fs';
import { MINUTE, SECOND } from '../util/clock.ts';
import { WeirError } from '../util/errors.ts';
import type { ByteThread, ByteWorkers } from './byte-workers.ts';

/** Signs of life within the hang timeout. */
const SIGNS_IN_TIMEOUT = 10;
/** A thread that waits for a core may be silent so many times longer. */
const STARVED_TIMES = 6;
/** Ends within {@link MANY_WITHIN} milliseconds after which workers are not replaced any more. */
const MANY = 8;
const MANY_WITHIN = 1 * MINUTE;

export interface WorkerWatchOptions {
  readonly workers: ByteWorkers;
  /** Milliseconds without a sign of life after which a worker is ended; 0: it may hang for ever. */
  readonly hangTimeout: number;
  /** A worker hangs, and is being ended. */
  readonly onHung: (error: WeirError) => void;
  /** A worker cannot be ended. */
  readonly onStuck: (error: WeirError) => void;
  /** Workers end again and again. */
  readonly onMany: (error: WeirError) => void;
}

interface Watched {
  /** Ticks since its last sign of life. */
  silent: number;
  /** Milliseconds for which it had waited for a core when it fell silent. */
  waited: number;
}

export class WorkerWatch implements Disposable {
  readonly #options: WorkerWatchOptions;
  readonly #timer: NodeJS.Timeout | undefined;
  readonly #interval: number;
  readonly #watched = new WeakMap<ByteThread, Watched>();
  readonly #ended: number[] = [];

  constructor(options: WorkerWatchOptions) {
    const { workers, hangTimeout } = options;
    this.#options = options;
    this.#interval = hangTimeout / SIGNS_IN_TIMEOUT;
    workers.onStart((thread) => thread.onLost((error) => this.#lost(error)));
    if (hangTimeout > 0) this.#timer = setInterval(() => this.#tick(), this.#interval).unref();
  }

  #tick(): void {
    for (const thread of this.#options.workers.threads) {
      const watched = this.#watched.get(thread) ?? { silent: 0, waited: 0 };
      this.#watched.set(thread, watched);
      if (thread.isAlive) {
        watched.silent = 0;
        thread.ping();
        continue;
      }
      watched.silent += 1;
      if (watched.silent === 1) watched.waited = waitedFor(thread.tid);
      this.#judge(thread, watched);
    }
  }

  #judge(thread: ByteThread, { silent, waited }: Watched): void {
    const { onHung, onStuck } = this.#options;
    if (silent < SIGNS_IN_TIMEOUT) return;
    const starved = (waitedFor(thread.tid) - waited) / this.#interval;
    // Nobody can tell for how long a thread that is starting has waited.
    const isHungSurely = thread.isStarted && silent - starved >= SIGNS_IN_TIMEOUT;
    if (!isHungSurely && silent < STARVED_TIMES * SIGNS_IN_TIMEOUT) return;
    const seconds = (silent * this.#interval) / SECOND;
    const error = new WeirError(
      'worker_lost',
      `byte worker ${thread.id} gave no sign of life for ${seconds} s`,
    );
    if (thread.isEnding) {
      if (silent >= 2 * SIGNS_IN_TIMEOUT) onStuck(error);
      return;
    }
    onHung(error);
    void thread.kill();
  }

  #lost(error: WeirError): void {
    const now = performance.now();
    this.#ended.push(now);
    if (this.#ended.length < MANY) return;
    const first = this.#ended.shift() ?? now;
    if (now - first < MANY_WITHIN) this.#options.onMany(error);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}

/** Milliseconds for which a thread has waited for a core (proc_pid_schedstat); 0 if the kernel does not count that. */
function waitedFor(tid: number | undefined): number {
  try {
    const [, nanoseconds = '0'] = readFileSync(`/proc/self/task/${tid}/schedstat`, 'latin1').split(' ');
    return Number(nanoseconds) / 1e6;
  } catch {
    return 0;
  }
}
