/**
 * Gathers the small buffers of an arriving body (64 KiB, from a network often a few KiB) into few large writes: each
 * write wakes the thread pool once, and every reader behind it once. A write waits for {@link WORTH_WRITING} bytes,
 * but no longer than {@link MAX_WAIT}; while one write runs, the next is gathered. The source has to wait while
 * {@link HIGH_WATER} bytes wait to be written, or while the whole node holds as many unwritten bytes as it may
 * ({@link ReceiveBudget}).
 */
import { KIB, MIB, MILLISECOND } from '../util/clock.ts';
import type { ReceiveBudget } from '../util/receive-budget.ts';
import { ByteQueue } from '../util/byte-queue.ts';

/** Bytes that may wait to be written, for each arriving blob. */
const HIGH_WATER = 2 * MIB;
/** Bytes of a write: a multiple of the bytes that readers take at once. */
const WORTH_WRITING = 512 * KIB;
/** Milliseconds for which fewer bytes may wait. It delays readers of a slow body, so it is far too short to be seen. */
const MAX_WAIT = 10 * MILLISECOND;

export class WriteBehind {
  readonly #write: (offset: number, buffers: readonly Uint8Array[]) => Promise<void>;
  readonly #room: ReceiveBudget;
  #position: number;
  readonly #gathered = new ByteQueue();
  #writing: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** The gathered bytes have waited long enough, or no more will follow. */
  #due = false;
  #failure: { readonly error: unknown } | undefined;

  constructor(
    start: number,
    room: ReceiveBudget,
    write: (offset: number, buffers: readonly Uint8Array[]) => Promise<void>,
  ) {
    this.#position = start;
    this.#room = room;
    this.#write = write;
  }

  /**
   * Takes all buffers, and settles when they are written.
   * @throws an error of `body` or of a write; the signal's reason
   */
  async fill(body: AsyncIterable<Uint8Array>, progressed: () => void, signal: AbortSignal): Promise<void> {
    try {
      for await (const buffer of body) {
        progressed();
        await this.push(buffer, signal);
      }
    } finally {
      await this.flush(); // also bytes that came before upstream broke off: the next pull goes on after them
    }
  }

  /**
   * Takes a buffer; waits only while too many bytes wait to be written.
   * @throws an error of an earlier write; the signal's reason
   */
  async push(buffer: Uint8Array, signal: AbortSignal): Promise<void> {
    this.#throwFailure();
    if (!this.#room.tryTake(buffer.length)) await this.#room.take(buffer.length, signal);
    if (this.#failure !== undefined) this.#room.give(buffer.length);
    this.#throwFailure();
    this.#gathered.push(buffer);
    if (this.#gathered.bytes >= WORTH_WRITING) this.#start();
    else this.#timer ??= setTimeout(() => this.#startDue(), MAX_WAIT);
    if (this.#gathered.bytes >= HIGH_WATER) await this.flush();
  }

  /** Settles when all buffers are written. @throws an error of a write */
  async flush(): Promise<void> {
    this.#startDue();
    await this.#writing;
    this.#throwFailure();
  }

  #startDue(): void {
    this.#due = true;
    this.#start();
  }

  #start(): void {
    if (this.#failure === undefined) this.#writing ??= this.#drain();
  }

  /** Never rejects: the failure is kept for the next {@link push} or {@link flush}. */
  async #drain(): Promise<void> {
    try {
      while (this.#gathered.bytes >= WORTH_WRITING || (this.#due && this.#gathered.bytes > 0)) {
        const { bytes } = this.#gathered;
        const buffers = this.#forget();
        try {
          await this.#write(this.#position, buffers);
        } finally {
          this.#room.give(bytes);
        }
        this.#position += bytes;
      }
    } catch (error) {
      this.#failure = { error };
      this.#room.give(this.#gathered.bytes);
      this.#forget();
    } finally {
      this.#writing = undefined;
    }
  }

  /** @returns the gathered buffers */
  #forget(): readonly Uint8Array[] {
    this.#due = false;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    return this.#gathered.takeAll();
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }
}
