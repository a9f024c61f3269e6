/** One connection to a member's data port: one request at a time, with the pauses that a download limit needs. */
import type { Clock } from '../util/clock.ts';
import { errorMessage, isWeirError, WeirError } from '../util/errors.ts';
import type { Wire } from './dial.ts';
import type { ChunkReceiver } from './chunk-receiver.ts';
import type { TokenBucket } from '../util/token-bucket.ts';

export interface ConnectionOwner {
  /** The answer is whole; the connection can be used again if it is not {@link MemberConnection.closed}. */
  finished(connection: MemberConnection, receiver: ChunkReceiver): void;
  /** The connection is closed; its request has not been told yet. */
  closed(connection: MemberConnection, error: WeirError): void;
}

export class MemberConnection {
  readonly #wire: Wire;
  readonly #owner: ConnectionOwner;
  readonly #limit: TokenBucket | undefined;
  readonly #clock: Clock;
  readonly #gone = new AbortController();
  #current: ChunkReceiver | undefined;
  #answered = 0;
  #error: WeirError | undefined;
  /** Milliseconds, monotonic. */
  #pausedUntil: number | undefined;

  constructor(wire: Wire, owner: ConnectionOwner, limit: TokenBucket | undefined, clock: Clock) {
    this.#wire = wire;
    this.#owner = owner;
    this.#limit = limit;
    this.#clock = clock;
    const { socket } = wire;
    wire.reader = (bytes) => this.#read(bytes);
    socket.on('error', (error) => (this.#error ??= cut(errorMessage(error))));
    socket.on('timeout', () => socket.destroy());
    socket.on('close', () => this.#onClose());
  }

  get closed(): boolean {
    return this.#wire.socket.destroyed;
  }

  /** Number of requests that were answered over it. */
  get answered(): number {
    return this.#answered;
  }

  /** @param text the request */
  send(receiver: ChunkReceiver, text: string): void {
    this.#current = receiver;
    this.#wire.socket.setTimeout(0);
    this.#wire.socket.write(text, 'latin1');
    receiver.sent();
  }

  /** The connection is idle. @param timeout milliseconds until it closes itself */
  rest(timeout: number): void {
    this.#wire.socket.setTimeout(timeout);
  }

  destroy(): void {
    this.#wire.socket.destroy();
  }

  #read(bytes: Buffer): boolean {
    const receiver = this.#current;
    try {
      if (receiver === undefined) throw new WeirError('peer_protocol', 'bytes that were not requested');
      const isWhole = receiver.receive(bytes);
      const wait = this.#limit?.reserve(bytes.length) ?? 0;
      if (isWhole) this.#finish(receiver);
      return wait <= 0 || this.#pause(wait);
    } catch (error) {
      if (!isWeirError(error)) throw error; // a listener threw it, which is not the peer's fault
      this.#error = error;
      this.#wire.socket.destroy();
      return false;
    }
  }

  #finish(receiver: ChunkReceiver): void {
    this.#current = undefined;
    this.#answered += 1;
    if (!receiver.lasts) this.#wire.socket.destroy();
    this.#owner.finished(this, receiver);
  }

  /** Stops reading: the kernel's buffer fills, and its window slows the sender down. */
  #pause(milliseconds: number): false {
    const isPaused = this.#pausedUntil !== undefined;
    this.#pausedUntil = this.#clock.monotonic() + milliseconds;
    // TLS gives all records that it has decrypted, paused or not. Each of them moves the end of the same pause.
    if (!isPaused) void this.#resume();
    return false;
  }

  /** Never rejects. */
  async #resume(): Promise<void> {
    const { signal } = this.#gone;
    try {
      for (let left = this.#pauseLeft(); left > 0; left = this.#pauseLeft()) {
        await this.#clock.sleep(left, { signal });
      }
    } catch {
      return; // closed meanwhile
    }
    this.#pausedUntil = undefined;
    this.#wire.socket.resume();
  }

  #pauseLeft(): number {
    return (this.#pausedUntil ?? 0) - this.#clock.monotonic();
  }

  #onClose(): void {
    this.#gone.abort();
    this.#current = undefined;
    this.#owner.closed(this, this.#error ?? cut('the peer closed the connection'));
  }
}

function cut(message: string): WeirError {
  return new WeirError('peer_cut', message);
}
