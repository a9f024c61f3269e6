/**
 * Collects the small pieces in which a body arrives (64 KiB) into few large writes: while one write runs, the next
 * is gathered. At most {@link HIGH_WATER} bytes wait; then the source has to.
 */
import { MIB } from '../clock.ts';

/** Bytes that may wait to be written, per blob that is arriving. */
const HIGH_WATER: number = 2 * MIB;

export class WriteBehind {
  readonly #write: (offset: number, buffers: readonly Uint8Array[]) => Promise<void>;
  #position: number;
  #gathered: Uint8Array[] = [];
  #bytes = 0;
  #writing: Promise<void> | undefined;
  #failure: { readonly error: unknown } | undefined;

  constructor(start: number, write: (offset: number, buffers: readonly Uint8Array[]) => Promise<void>) {
    this.#position = start;
    this.#write = write;
  }

  /** Takes a piece over; waits only while too much is waiting. @throws what an earlier write threw */
  async push(piece: Uint8Array): Promise<void> {
    this.#throwFailure();
    this.#gathered.push(piece);
    this.#bytes += piece.length;
    this.#writing ??= this.#drain();
    if (this.#bytes >= HIGH_WATER) await this.flush();
  }

  /** Settles when all pieces are written. @throws what a write threw */
  async flush(): Promise<void> {
    await this.#writing;
    this.#throwFailure();
  }

  /** Never rejects: the failure is kept for the next {@link push} or {@link flush}. */
  async #drain(): Promise<void> {
    try {
      while (this.#gathered.length > 0) {
        const buffers = this.#gathered;
        const bytes = this.#bytes;
        this.#gathered = [];
        this.#bytes = 0;
        await this.#write(this.#position, buffers);
        this.#position += bytes;
      }
    } catch (error) {
      this.#failure = { error };
    } finally {
      this.#writing = undefined;
    }
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }
}
