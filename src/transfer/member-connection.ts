/** One connection to a member's data port: one request at a time, and the pause that a download limit asks for. */
import type { Clock } from '../util/clock.ts';
import { errorMessage, isWeirError, WeirError } from '../util/errors.ts';
import type { Wire } from './dial.ts';
import type { ChunkReceiver } from './chunk-receiver.ts';
import type { TokenBucket } from '../util/token-bucket.ts';

export interface ConnectionOwner {
  /** The answer is whole; the connection can be used again where it is not {@link MemberConnection.closed}. */
  finished(connection: MemberConnection, reception: ChunkReceiver): void;
  /** It is gone; what was under way over it has not been told yet. */
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

  /** Requests that were answered over it. */
  get answered(): number {
    return this.#answered;
  }

  /** @param text the request */
  send(reception: ChunkReceiver, text: string): void {
    this.#current = reception;
    this.#wire.socket.setTimeout(0);
    this.#wire.socket.write(text, 'latin1');
    reception.sent();
  }

  /** Nobody needs it at present. @param timeout milliseconds until it closes itself */
  rest(timeout: number): void {
    this.#wire.socket.setTimeout(timeout);
  }

  destroy(): void {
    this.#wire.socket.destroy();
  }

  #read(bytes: Buffer): boolean {
    const reception = this.#current;
    try {
      if (reception === undefined) throw new WeirError('peer_protocol', 'bytes that nobody asked for');
      const isWhole = reception.receive(bytes);
      const wait = this.#limit?.reserve(bytes.length) ?? 0;
      if (isWhole) this.#finish(reception);
      return wait <= 0 || this.#pause(wait);
    } catch (error) {
      if (!isWeirError(error)) throw error; // of whom it was told to, and no fault of the peer
      this.#error = error;
      this.#wire.socket.destroy();
      return false;
    }
  }

  #finish(reception: ChunkReceiver): void {
    this.#current = undefined;
    this.#answered += 1;
    if (!reception.lasts) this.#wire.socket.destroy();
    this.#owner.finished(this, reception);
  }

  /** Leaves what comes to the kernel, whose window then slows the sender down. */
  #pause(milliseconds: number): false {
    const isPaused = this.#pausedUntil !== undefined;
    this.#pausedUntil = this.#clock.monotonic() + milliseconds;
    // TLS gives all the records that it has decrypted, paused or not: each of them moves the end of one pause.
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
