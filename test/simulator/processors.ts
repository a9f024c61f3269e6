/**
 * The cores of one simulated node. Its main thread and its byte workers each take one thing after the other, in the order in
 * which they came. Threads of V8 and of the kernel are not modelled.
 */
import { MIB } from '../../src/util/clock.ts';
import type { VirtualTime } from './virtual-time.ts';

/** Byte workers of a node, at most (config/settings.ts). */
const MAX_WORKERS = 4;

export class Processors {
  readonly main: Thread;
  readonly workers: Thread;

  /** @param cores of the node; up to one, all threads share it; up to two, main thread and worker have half of them each */
  constructor(time: VirtualTime, cores: number) {
    const count = Math.min(MAX_WORKERS, Math.max(1, Math.floor(cores) - 1));
    this.main = new Thread(time, cores <= 1 ? cores : Math.min(1, cores / 2), 1);
    this.workers = cores <= 1 ? this.main : new Thread(time, Math.min(1, cores / 2), count);
  }

  /** Milliseconds of CPU time so far. */
  get used(): number {
    return this.main === this.workers ? this.main.used : this.main.used + this.workers.used;
  }
}

/** A thread, or several that share the work. */
export class Thread {
  /** Milliseconds of CPU time so far. */
  used = 0;
  /** Milliseconds that something waited for it at most. */
  longestWait = 0;
  readonly #time: VirtualTime;
  readonly #speed: number;
  /** When each is free. */
  readonly #freeAt: number[];

  /** @param speed share of a core that each gets */
  constructor(time: VirtualTime, speed: number, count: number) {
    this.#time = time;
    this.#speed = speed;
    this.#freeAt = Array.from({ length: count }, () => 0);
  }

  /** Milliseconds until what is begun now could start. */
  get wait(): number {
    return Math.max(0, this.#earliest() - this.#time.now);
  }

  /** Takes `cost` milliseconds of CPU time. @returns milliseconds until they are over */
  charge(cost: number): number {
    const { now } = this.#time;
    const at = this.#freeAt.indexOf(this.#earliest());
    const start = Math.max(now, this.#freeAt[at] ?? 0);
    const end = start + cost / this.#speed;
    this.#freeAt[at] = end;
    this.used += cost;
    this.longestWait = Math.max(this.longestWait, start - now);
    return end - now;
  }

  /** Runs when the thread is free, which is then busy for `cost` milliseconds. */
  begin(cost: number, run: () => void): void {
    const { wait } = this;
    this.charge(cost);
    if (wait === 0) run();
    else this.#time.post(wait, run);
  }

  /** Runs when `cost` milliseconds for each MiB are over. */
  after(cost: number, bytes: number, run: () => void): void {
    this.#time.post(this.charge((cost * bytes) / MIB), run);
  }

  #earliest(): number {
    return this.#freeAt.length === 1 ? (this.#freeAt[0] ?? 0) : Math.min(...this.#freeAt);
  }
}
