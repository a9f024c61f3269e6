/**
 * Sends the bytes of a file into a connection, as they become readable: the body of one response, or a part of it.
 *
 * Two buffers take turns: one is filled while the other is written. File calls are synchronous, as everywhere in a byte
 * worker. After each buffer the other sockets of the thread have their turn.
 */
import { hash } from 'node:crypto';
import { setImmediate as turn } from 'node:timers/promises';
import { MILLISECOND, SECOND } from '../util/clock.ts';
import type { ChunkCheck, FileContent } from '../util/content.ts';
import { WeirError } from '../util/errors.ts';
import { Progress } from '../util/progress.ts';
import { STEP_BYTES, type RateLimit } from '../util/token-bucket.ts';
import { HASH_BYTES } from '../protocol/attestation.ts';
import type { BodyBuffers } from './body-buffers.ts';
import type { ChunkPlaces } from './chunk-places.ts';
import { readWhole } from './file-calls.ts';
import { passOf } from './pass.ts';
import type { SentPart } from './sent-part.ts';

/** Milliseconds of a wait for content after which it is told: shorter ones are the rule while a blob arrives. */
const WORTH_TELLING = 100 * MILLISECOND;
/** Milliseconds after which a waiting body looks again, so that a lost wake-up cannot hold it for ever. */
const LOOK_AGAIN = 1 * SECOND;
/** Made once: an abort without a reason makes an exception with a stack each time. */
const STOPPED = new Error('the body was stopped');

export interface SenderOptions {
  /** Settles when the bytes have left for the kernel. @throws WeirError `aborted` */
  readonly write: (bytes: Uint8Array) => Promise<void>;
  readonly onWaiting: (position: number) => void;
  readonly buffers: BodyBuffers;
  /** Shared with other bodies. */
  readonly limit?: RateLimit | undefined;
  /** Bytes of the next write, at most; default: a whole buffer. */
  readonly step?: (() => number) | undefined;
  /** Memory for chunks that are checked. */
  readonly places: ChunkPlaces;
}

export class BodySender {
  readonly #part: SentPart;
  readonly #options: SenderOptions;
  readonly #progress: Progress | undefined;
  #position: number;
  readonly #stop = new AbortController();
  /** Ends the wait that is under way. */
  #wake: (() => void) | undefined;

  constructor(part: SentPart, options: SenderOptions) {
    this.#part = part;
    this.#options = options;
    this.#progress = part.content.progress && new Progress(part.content.progress);
    this.#position = part.start;
  }

  /** The position behind the last byte that was handed to the connection. */
  get position(): number {
    return this.#position;
  }

  /** Ends {@link run} soon, without a failure, and without waiting for the client. */
  stop(): void {
    this.#stop.abort(STOPPED);
    this.#wake?.();
  }

  /**
   * Settles when all bytes are sent, when it was stopped, or when the content is fetched anew. No byte of the file is read
   * after that.
   * @throws WeirError `store_corrupt`, `aborted`; the system's error
   */
  async run(): Promise<void> {
    const { buffers, write, limit, step: nextStep } = this.#options;
    let taken: ReturnType<BodyBuffers['take']> | undefined;
    let writing: Promise<void> = Promise.resolve();
    try {
      for (let count = 0; this.#position < this.#part.end; count++) {
        const available = await this.#available();
        if (available === 0) return;
        taken ??= buffers.take(); // a body that waits for its first byte needs none
        // A single buffer must not be filled while it is being written.
        if (taken.length === 1) await this.#until(writing);
        if (this.#isOver) return;
        const buffer = taken[count % taken.length] ?? taken[0];
        const isLimited = limit?.isLimited === true;
        const step = Math.min(isLimited ? STEP_BYTES : buffer.length, nextStep?.() ?? Infinity);
        const bytes = buffer.subarray(0, Math.min(available, buffer.length, step));
        if (isLimited) await this.#until(limit.take(bytes.length, { signal: this.#stop.signal }));
        if (this.#isOver) return;
        this.#read(bytes);
        await this.#until(writing);
        if (this.#isOver) return; // also if the file was changed while it was being read
        writing = write(bytes);
        writing.catch(() => undefined); // awaited before the next write, or below
        this.#position += bytes.length;
        await turn();
      }
      await this.#until(writing);
    } finally {
      const give = (): void => {
        if (taken !== undefined) buffers.give(taken);
      };
      writing.then(give, give);
    }
  }

  get #isStopped(): boolean {
    return this.#stop.signal.aborted;
  }

  get #isOver(): boolean {
    return this.#isStopped || (this.#progress?.generation ?? this.#part.generation) !== this.#part.generation;
  }

  /** Bytes that can be sent now, at least 1, after waiting for them; 0 if no more shall be sent. */
  async #available(): Promise<number> {
    const { size, heldBack = 0 } = this.#part.content;
    const progress = this.#progress;
    if (progress === undefined || this.#part.isPresent) {
      return this.#isOver ? 0 : this.#part.end - this.#position;
    }
    const began = performance.now();
    for (let isTold = false; ;) {
      const mark = progress.mark;
      if (this.#isOver) return 0;
      if (progress.isWrong) throw new WeirError('store_corrupt', 'the content does not have its digest');
      const readable = progress.isWhole ? size : Math.min(progress.prefix, size - heldBack);
      const available = Math.min(readable, this.#part.end) - this.#position;
      if (available > 0) return available;
      const waited = performance.now() - began;
      if (waited >= WORTH_TELLING && !isTold) {
        isTold = true;
        this.#options.onWaiting(this.#position);
      }
      await this.#until(progress.changed(mark, isTold ? LOOK_AGAIN : WORTH_TELLING - waited));
    }
  }

  /** @throws WeirError `store_corrupt` */
  #read(bytes: Uint8Array): void {
    const { content } = this.#part;
    if ('pass' in content) return passOf(content.pass).read(bytes, this.#position);
    const { fd, check } = content;
    if (check !== undefined) this.#check(content, check, bytes.length);
    if (!readWhole(fd, bytes, this.#position)) {
      throw new WeirError('store_corrupt', 'the file is shorter than its blob');
    }
  }

  /** Compares the chunks of the next `length` bytes with their hashes, unless a reader has done so. */
  #check({ fd, size }: FileContent, { chunkSize, hashes, checked }: ChunkCheck, length: number): void {
    const good = new Uint8Array(checked);
    const last = Math.floor((this.#position + length - 1) / chunkSize);
    for (let index = Math.floor(this.#position / chunkSize); index <= last; index++) {
      if (Atomics.load(good, index) === 1) continue;
      const start = index * chunkSize;
      const { place, bytes } = this.#options.places.take(Math.min(chunkSize, size - start));
      try {
        const expected = new Uint8Array(hashes, index * HASH_BYTES, HASH_BYTES);
        if (!readWhole(fd, bytes, start) || !hash('sha256', bytes, 'buffer').equals(expected)) {
          throw new WeirError('store_corrupt', `chunk ${index} is damaged`);
        }
        Atomics.store(good, index, 1);
      } finally {
        this.#options.places.give(place);
      }
    }
  }

  /** Waits for the work, or until it is stopped. */
  async #until(work: Promise<void>): Promise<void> {
    if (this.#isStopped) return;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#wake = resolve;
    work.then(resolve, reject);
    await promise;
  }
}
