/** Stops the reading of a socket for one reason or several, until none is left: the kernel's window slows the sender down. */
import type { Socket } from 'node:net';
import type { Clock } from '../util/clock.ts';
import type { RateLimit } from '../util/token-bucket.ts';

type Reason = 'limit' | 'main';

export class SocketPause {
  readonly #socket: Socket;
  #limit: RateLimit;
  readonly #clock: Clock;
  readonly #gone = new AbortController();
  readonly #reasons = new Set<Reason>();
  /** Milliseconds, monotonic: until when the limit is spent. */
  #until = 0;

  constructor(socket: Socket, limit: RateLimit, clock: Clock) {
    this.#socket = socket;
    this.#limit = limit;
    this.#clock = clock;
  }

  /** What counts from now on. */
  use(limit: RateLimit): void {
    this.#limit = limit;
  }

  get isPaused(): boolean {
    return this.#reasons.size > 0;
  }

  hold(reason: Reason, isHeld: boolean): void {
    if (isHeld === this.#reasons.has(reason)) return;
    if (isHeld) this.#reasons.add(reason);
    else this.#reasons.delete(reason);
    if (this.isPaused) this.#socket.pause();
    else this.#socket.resume();
  }

  /** Counts bytes that have come against the limit. */
  count(bytes: number): void {
    const wait = this.#limit.reserve(bytes);
    if (wait <= 0) return;
    // TLS gives all records that it has decrypted, paused or not. Each of them moves the end of the same pause.
    this.#until = this.#clock.monotonic() + wait;
    if (this.#reasons.has('limit')) return;
    this.hold('limit', true);
    void this.#resume();
  }

  stop(): void {
    this.#gone.abort();
  }

  /** Never rejects. */
  async #resume(): Promise<void> {
    const { signal } = this.#gone;
    try {
      for (let left = this.#left(); left > 0; left = this.#left()) await this.#clock.sleep(left, { signal });
    } catch {
      return; // closed meanwhile
    }
    this.hold('limit', false);
  }

  #left(): number {
    return this.#until - this.#clock.monotonic();
  }
}
