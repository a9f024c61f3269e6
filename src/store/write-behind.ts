/**
 * Collects the small pieces in which a body arrives (64 KiB, from a network often a few KiB) into few large writes,
 * because each write costs a wake-up of the thread pool, and one more of every reader behind it. A write waits for
 * {@link WORTH_WRITING} bytes, but no longer than {@link MAX_WAIT}; while one runs, the next is gathered. At most
 * {@link HIGH_WATER} bytes wait; then the source has to. It has to, too, while the node as a whole holds as much as it may
 * that is not written ({@link ReceiveBudget}).
 */
import { KIB, MIB, MILLISECOND } from '../util/clock.ts';
import type { ReceiveBudget } from '../util/receive-budget.ts';
import { ByteQueue } from '../util/byte-queue.ts';

/** Bytes that may wait to be written, per blob that is arriving. */
const HIGH_WATER = 2 * MIB;
/** Bytes that make a write: a multiple of what readers take at once. */
const WORTH_WRITING = 512 * KIB;
/** Milliseconds for which fewer bytes may wait: it delays readers of a slow body, so far below what a person sees. */
const MAX_WAIT = 10 * MILLISECOND;

export class WriteBehind {
  readonly #write: (offset: number, buffers: readonly Uint8Array[]) => Promise<void>;
  readonly #room: ReceiveBudget;
  #position: number;
  readonly #gathered = new ByteQueue();
  #writing: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** What is gathered has waited long enough, or nothing will follow. */
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
   * Takes all pieces over, and settles when they are written.
   * @throws what `pieces` or a write threw; the signal's reason
   */
  async fill(pieces: AsyncIterable<Uint8Array>, progressed: () => void, signal: AbortSignal): Promise<void> {
    try {
      for await (const piece of pieces) {
        progressed();
        await this.push(piece, signal);
      }
    } finally {
      await this.flush(); // also what came before upstream broke off: the next pull goes on behind it
    }
  }

  /**
   * Takes a piece over; waits only while too much is waiting.
   * @throws what an earlier write threw; the signal's reason
   */
  async push(piece: Uint8Array, signal: AbortSignal): Promise<void> {
    this.#throwFailure();
    if (!this.#room.tryTake(piece.length)) await this.#room.take(piece.length, signal);
    if (this.#failure !== undefined) this.#room.give(piece.length);
    this.#throwFailure();
    this.#gathered.push(piece);
    if (this.#gathered.bytes >= WORTH_WRITING) this.#start();
    else this.#timer ??= setTimeout(() => this.#startDue(), MAX_WAIT);
    if (this.#gathered.bytes >= HIGH_WATER) await this.flush();
  }

  /** Settles when all pieces are written. @throws what a write threw */
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

  /** @returns what was gathered */
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
