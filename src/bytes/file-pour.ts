/**
 * Pours a body into a file: hashes each chunk as its bytes arrive, gathers them into large writes, and advances the blob's
 * Progress behind each write. Large writes cost less, and wake each reader of the blob once.
 */
import { createHash, type Hash } from 'node:crypto';
import { KIB, MIB, MILLISECOND } from '../util/clock.ts';
import { WeirError } from '../util/errors.ts';
import { Progress } from '../util/progress.ts';
import { ChunkLayout } from '../protocol/chunk-layout.ts';
import { writeError } from '../store/file.ts';
import { readPart } from '../upstream/blob-part.ts';
import { readSteps, writeWhole } from './file-calls.ts';
import { PacedReport } from './paced-report.ts';
import type { BodyEnd, BodyReading, ReadingParts } from './upstream-part.ts';
import type { BodyCommand, PouredChunk, PourCommand } from './upstream-messages.ts';

/** Bytes of a write: a multiple of the bytes that readers take at once. */
const WORTH_WRITING = 512 * KIB;
/** Milliseconds for which fewer bytes may wait. It delays readers of a slow body, so it is far too short to be seen. */
const MAX_WAIT = 10 * MILLISECOND;
/** Bytes of credit below which more is asked for: 6 ms at 10 Gbit/s, a hundred times as long as the answer takes. */
const ASK_BELOW = 8 * MIB;

export class FilePour implements BodyReading {
  readonly #command: PourCommand;
  readonly #parts: ReadingParts;
  readonly #layout: ChunkLayout;
  readonly #progress: Progress | undefined;
  /** The chunk that is arriving. */
  #hash: Hash;
  /** Bytes before it are hashed, and written or gathered. */
  #received: number;
  #written: number;
  /** The bytes between the two; undefined while there are none: until then it takes no memory. */
  #gathered: { readonly place: number; readonly bytes: Uint8Array } | undefined;
  #timer: NodeJS.Timeout | undefined;
  #failure: { readonly error: unknown } | undefined;
  /** Chunks that are whole once the gathered bytes are written, and those that are. */
  #complete: PouredChunk[] = [];
  #unreported: PouredChunk[] = [];
  readonly #report = new PacedReport(() => this.#tell());
  #reserved: number;
  #isAsking = false;
  #isRefused = false;

  constructor(command: PourCommand, parts: ReadingParts) {
    this.#command = command;
    this.#parts = parts;
    const { file, part, reserved } = command;
    this.#layout = new ChunkLayout(file.size);
    this.#progress = file.progress && new Progress(file.progress);
    this.#received = this.#written = part.start;
    this.#reserved = reserved;
    this.#hash = createHash('sha256');
  }

  receive(command: BodyCommand): void {
    if (command.kind === 'credit') this.#reserved = Math.max(this.#reserved, command.to);
    else if (command.kind === 'refuse') this.#isRefused = true;
    else return;
    this.#isAsking = false;
    this.#parts.response.more();
  }

  async run(): Promise<void> {
    try {
      this.#readBack();
      await readPart(this.#parts.response, this.#command.part, (bytes) => this.#takeAll(bytes));
    } finally {
      try {
        this.#flush(); // also bytes that came before upstream broke off: the next request goes on after them
      } finally {
        this.#report.stop();
        if (this.#gathered !== undefined) this.#parts.places.give(this.#gathered.place);
        this.#gathered = undefined;
      }
    }
  }

  get end(): BodyEnd {
    return { position: this.#written, chunks: this.#unreported.splice(0), left: undefined };
  }

  /** Hashes the bytes of the first chunk that an earlier body has brought. */
  #readBack(): void {
    const start = this.#layout.start(this.#layout.indexOf(this.#received));
    for (const part of readSteps(this.#command.file.fd, start, this.#received)) this.#hash.update(part);
  }

  /** Takes bytes as far as there is credit. @returns their number */
  #takeAll(bytes: Uint8Array): number {
    let taken = 0;
    while (taken < bytes.length) {
      if (this.#failure !== undefined) throw this.#failure.error;
      const credit = this.#reserved - this.#received;
      if (credit < ASK_BELOW) this.#ask();
      if (credit > 0) {
        taken += this.#take(bytes.subarray(taken, taken + credit));
        continue;
      }
      this.#flush();
      if (this.#isRefused) throw new WeirError('store_full', 'there is no room for more bytes');
      break;
    }
    return taken;
  }

  /** Takes bytes as far as there is room for them in memory. @returns their number */
  #take(bytes: Uint8Array): number {
    const gathered = (this.#gathered ??= this.#parts.places.take(WORTH_WRITING));
    const filled = this.#received - this.#written;
    const part = bytes.subarray(0, WORTH_WRITING - filled);
    gathered.bytes.set(part, filled);
    this.#hashed(part);
    if (filled + part.length === WORTH_WRITING) this.#flush();
    else this.#timer ??= setTimeout(() => this.#flushDue(), MAX_WAIT);
    return part.length;
  }

  #ask(): void {
    if (this.#isAsking || this.#isRefused || this.#reserved >= this.#command.part.end) return;
    this.#isAsking = true;
    this.#parts.post({ kind: 'want', call: this.#command.call, index: this.#layout.indexOf(this.#reserved) });
  }

  #hashed(bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length;) {
      const index = this.#layout.indexOf(this.#received);
      const part = bytes.subarray(done, done + this.#layout.end(index) - this.#received);
      this.#hash.update(part);
      done += part.length;
      this.#received += part.length;
      if (this.#received < this.#layout.end(index)) continue;
      this.#complete.push({ index, hash: new Uint8Array(this.#hash.digest()) });
      this.#hash = createHash('sha256');
    }
  }

  /** An error is kept for the body's reader, which is woken. */
  #flushDue(): void {
    try {
      this.#flush();
    } catch {
      this.#parts.response.abort(new WeirError('aborted', 'its bytes cannot be written'));
    }
  }

  /** Writes what is gathered. @throws WeirError `store_full`, `store_unusable` */
  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#failure !== undefined) throw this.#failure.error;
    const bytes = this.#received - this.#written;
    if (bytes === 0 || this.#gathered === undefined) return;
    try {
      writeWhole(this.#command.file.fd, this.#gathered.bytes.subarray(0, bytes), this.#written);
    } catch (cause) {
      this.#failure = { error: writeError(cause) };
      throw this.#failure.error;
    }
    const start = this.#written;
    this.#written += bytes;
    if (this.#progress !== undefined && start <= this.#progress.prefix) this.#progress.advance(this.#written);
    this.#unreported.push(...this.#complete);
    this.#complete = [];
    if (this.#unreported.length > 0) this.#report.now();
    else this.#report.soon();
  }

  #tell(): void {
    const chunks = this.#unreported.splice(0);
    this.#parts.post({ kind: 'progress', call: this.#command.call, position: this.#written, chunks });
  }
}
