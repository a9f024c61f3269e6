/**
 * A blob that passes through a byte worker from a registry to one client, without being stored. Its bytes are hashed as they
 * come, and the last chunk is held back until the whole digest is right. A client that reads slowly slows the registry's
 * connection down: at most the held back bytes and {@link AHEAD} are in memory.
 */
import { createHash, type Hash } from 'node:crypto';
import { setImmediate as turn } from 'node:timers/promises';
import { ByteQueue } from '../util/byte-queue.ts';
import { MIB } from '../util/clock.ts';
import { WeirError } from '../util/errors.ts';
import { Progress } from '../util/progress.ts';
import { digestAlgorithm, digestHex, type Digest } from '../oci/digest.ts';
import { readSteps } from './file-calls.ts';

/** Bytes beyond those held back that may wait for the client. */
const AHEAD = 1 * MIB;

export interface PassOptions {
  readonly digest: Digest;
  /** Bytes at the end that are held back. */
  readonly heldBack: number;
  /** Memory of its Progress. */
  readonly progress: SharedArrayBuffer;
  /** A file with the first bytes of the blob, which the client gets from there: they are hashed, and not passed. */
  readonly prefix: { readonly fd: number; readonly bytes: number } | undefined;
}

export class Pass {
  readonly #options: PassOptions;
  readonly #progress: Progress;
  readonly #hash: Hash;
  readonly #queue = new ByteQueue();
  /** The blob's position of the first byte that waits. */
  #position: number;
  /** Bytes before it are not wanted. */
  #wanted = 0;
  /** Settles when the prefix is hashed. */
  readonly #prefix: Promise<void>;
  #isPrefixHashed = false;
  #failure: { readonly error: unknown } | undefined;
  #closed = false;
  /** Called when {@link take} may take more. */
  onWanted: (() => void) | undefined;

  constructor(options: PassOptions) {
    const { digest, prefix, progress } = options;
    this.#options = options;
    this.#progress = new Progress(progress);
    this.#hash = createHash(digestAlgorithm(digest));
    this.#position = prefix?.bytes ?? 0;
    this.#prefix = this.#hashPrefix();
    this.#prefix
      .then(
        () => (this.#isPrefixHashed = true),
        (error: unknown) => (this.#failure = { error }),
      )
      .finally(() => this.#wake());
  }

  /** Takes the next bytes of the blob, if it wants any now. @returns their number @throws the system's error */
  take(bytes: Uint8Array): number {
    if (this.#closed) return bytes.length;
    if (this.#failure !== undefined) throw this.#failure.error;
    const isFull = this.#queue.bytes > this.#options.heldBack + AHEAD;
    if (isFull || !this.#isPrefixHashed) return 0;
    this.#hash.update(bytes);
    this.#queue.copy(bytes);
    this.#drop();
    this.#progress.advance(this.#position + this.#queue.bytes);
    return bytes.length;
  }

  /** The blob has ended: the held back bytes are right, or nothing is. */
  async finish(): Promise<void> {
    try {
      await this.#prefix;
    } catch {
      return this.#progress.refuse();
    }
    if (this.#hash.digest('hex') === digestHex(this.#options.digest)) this.#progress.complete();
    else this.#progress.refuse();
  }

  /** Bytes before `to` are not wanted. */
  skip(to: number): void {
    this.#wanted = Math.max(this.#wanted, to);
    this.#drop();
    this.#wake();
  }

  /** Fills `target` with bytes that the Progress has told of. @throws WeirError `internal` if they are not here */
  read(target: Uint8Array, position: number): void {
    this.skip(position);
    if (position !== this.#position || this.#queue.read(target) < target.length) {
      throw new WeirError('internal', `byte ${position} of a blob that passes through is not here`);
    }
    this.#position += target.length;
    this.#wake();
  }

  close(): void {
    this.#closed = true;
    this.#queue.takeAll();
    this.#wake();
  }

  #drop(): void {
    while (this.#position < this.#wanted) {
      const dropped = this.#queue.drop(this.#wanted - this.#position);
      if (dropped === 0) return;
      this.#position += dropped;
    }
  }

  #wake(): void {
    this.onWanted?.();
  }

  async #hashPrefix(): Promise<void> {
    const { prefix } = this.#options;
    if (prefix === undefined) return;
    for (const part of readSteps(prefix.fd, 0, prefix.bytes)) {
      this.#hash.update(part);
      await turn();
      if (this.#closed) return;
    }
  }
}

/** The blobs that pass through this thread, by number. They are no worker's own: a test has several workers in its thread. */
const passes = new Map<number, Pass>();

export function openPass(id: number, options: PassOptions): void {
  passes.set(id, new Pass(options));
}

/** @throws WeirError `internal` */
export function passOf(id: number): Pass {
  const pass = passes.get(id);
  if (pass === undefined) throw new WeirError('internal', `no blob ${id} passes through this thread`);
  return pass;
}

/** Harmless if it was closed before. */
export function closePass(id: number): void {
  passes.get(id)?.close();
  passes.delete(id);
}
