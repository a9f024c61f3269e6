/**
 * Blobs that the runtime on this node has already: containerd's content folder (`io.containerd.content.v1.content`),
 * read-only. containerd renames a blob into `blobs/<algorithm>/<hex>` once it is complete and verified, and unlinks
 * it in its garbage collection. The folder is watched so that both are noticed at once.
 *
 * This process verifies a blob again when it first opens it, because a damaged one would brick the pulls of every
 * other runtime that is served from here. Small blobs are verified before their first byte. Others are verified
 * while they are read, and their last chunk is held back until the digest is right.
 */
import { watch, type FSWatcher } from 'node:fs';
import { open, readdir, stat, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { MIB, MINUTE, type Clock } from '../util/clock.ts';
import type { FileContent } from '../util/content.ts';
import { errorMessage, systemCode, WeirError } from '../util/errors.ts';
import { Progress } from '../util/progress.ts';
import { digestAlgorithm, digestHex, tryParseDigest, type Digest } from '../oci/digest.ts';
import { ChunkLayout } from '../protocol/chunk-layout.ts';
import type { ByteFiles } from './byte-files.ts';
import type { Blob, BlobInfo, BlobProvider } from './store.ts';

/** Blobs up to this size are verified whole before their first byte, which takes some 20 ms. */
const VERIFY_FIRST_BYTES = 32 * MIB;
/** Milliseconds between two scans: inotify may drop events (its queue is bounded), and the folder may not exist yet. */
const RESCAN_INTERVAL = 1 * MINUTE;
const ALGORITHMS = ['sha256', 'sha512'] as const;

export interface RuntimeContentOptions {
  /** The content folder; it need not exist (yet). */
  readonly root: string;
  readonly clock: Clock;
  /** Hashes the files of blobs. */
  readonly files: ByteFiles;
  /** A blob was added; Weir's own copy of it is no longer needed. */
  readonly onAdded?: (info: BlobInfo) => void;
  readonly onRemoved?: (info: BlobInfo) => void;
  readonly onProblem?: (message: string) => void;
}

interface Known {
  readonly size: number;
  /** Undefined until the first opening. */
  verification: Verification | undefined;
}

interface Verification {
  /** All bytes can be read; whether they are right is in there, too. */
  readonly progress: Progress;
  readonly isRight: Promise<boolean>;
}

export class RuntimeContent implements BlobProvider, AsyncDisposable {
  readonly name = 'runtime';
  readonly #options: RuntimeContentOptions;
  readonly #known: Map<Digest, Known> = new Map();
  readonly #watchers: Map<string, FSWatcher> = new Map();
  readonly #stop: AbortController = new AbortController();
  /** Nothing has failed yet: inotify instances may be short (EMFILE), which is said once. */
  #isWatchable = true;
  #scanning: Promise<void> = Promise.resolve();
  #rescans: Promise<void> = Promise.resolve();

  private constructor(options: RuntimeContentOptions) {
    this.#options = options;
  }

  static async open(options: RuntimeContentOptions): Promise<RuntimeContent> {
    const content = new RuntimeContent(options);
    await content.rescan();
    content.#rescans = content.#rescanRegularly();
    return content;
  }

  get root(): string {
    return this.#options.root;
  }

  get blobs(): number {
    return this.#known.size;
  }

  /** Whether the folder is there, so that a blob which is not known is not in it. */
  get isVisible(): boolean {
    return this.#watchers.size > 0;
  }

  /** Scans the whole folder; scans run one after the other. */
  rescan(): Promise<void> {
    this.#scanning = this.#scanning.then(() => this.#scan());
    return this.#scanning;
  }

  async #rescanRegularly(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        await this.#options.clock.sleep(RESCAN_INTERVAL, { signal });
        await this.rescan();
      } catch (error) {
        if (!signal.aborted) this.#problem(error);
      }
    }
  }

  async #scan(): Promise<void> {
    const seen = new Set<Digest>();
    for (const algorithm of ALGORITHMS) {
      const folder = join(this.#options.root, 'blobs', algorithm);
      try {
        this.#tryToWatch(algorithm, folder);
        for (const hex of await readdir(folder)) {
          const digest = tryParseDigest(`${algorithm}:${hex}`);
          if (digest === undefined) continue;
          seen.add(digest);
          if (!this.#known.has(digest)) await this.#look(digest);
        }
      } catch (error) {
        if (systemCode(error) !== 'ENOENT') this.#problem(error);
      }
    }
    for (const digest of this.#known.keys()) if (!seen.has(digest)) await this.#look(digest);
  }

  /** Without a watcher the folder is still looked at in each scan. */
  #tryToWatch(algorithm: string, folder: string): void {
    try {
      this.#watch(algorithm, folder);
    } catch (error) {
      if (systemCode(error) === 'ENOENT') throw error;
      if (this.#isWatchable)
        this.#problem(
          new Error(`it cannot be watched, and is read each minute instead: ${errorMessage(error)}`),
        );
      this.#isWatchable = false;
    }
  }

  #watch(algorithm: string, folder: string): void {
    if (this.#watchers.has(folder) || this.#stop.signal.aborted) return;
    const watcher = watch(folder, { persistent: false }, (event, hex) => {
      if (event !== 'rename' || hex === null) return;
      const digest = tryParseDigest(`${algorithm}:${hex}`);
      if (digest !== undefined) this.#look(digest).catch((error: unknown) => this.#problem(error));
    });
    watcher.on('error', (error) => {
      this.#problem(error);
      this.#forgetWatcher(folder);
    });
    this.#watchers.set(folder, watcher);
  }

  #forgetWatcher(folder: string): void {
    this.#watchers.get(folder)?.close();
    this.#watchers.delete(folder);
  }

  #problem(error: unknown): void {
    this.#options.onProblem?.(`the runtime's content folder ${this.#options.root}: ${errorMessage(error)}`);
  }

  #path(digest: Digest): string {
    return join(this.#options.root, 'blobs', digestAlgorithm(digest), digestHex(digest));
  }

  /** Updates the record of one blob from the folder. */
  async #look(digest: Digest): Promise<void> {
    const size = await sizeOf(this.#path(digest));
    const before = this.#known.get(digest);
    if (size === before?.size) return;
    if (before !== undefined) {
      this.#known.delete(digest);
      this.#options.onRemoved?.({ digest, size: before.size });
    }
    if (size !== undefined) {
      this.#known.set(digest, { size, verification: undefined });
      this.#options.onAdded?.({ digest, size });
    }
  }

  async stat(digest: Digest): Promise<BlobInfo | undefined> {
    const known = this.#known.get(digest);
    return known === undefined ? undefined : { digest, size: known.size };
  }

  async *list(): AsyncIterable<BlobInfo> {
    for (const [digest, { size }] of this.#known) yield { digest, size };
  }

  async open(digest: Digest): Promise<Blob | undefined> {
    const known = this.#known.get(digest);
    if (known === undefined) return undefined;
    let file: FileHandle;
    try {
      file = await open(this.#path(digest), 'r');
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') this.#problem(error);
      await this.#look(digest);
      return undefined;
    }
    const verification = (known.verification ??= this.#verification(digest, known.size));
    if (known.size > VERIFY_FIRST_BYTES || (await verification.isRight)) {
      return new RuntimeBlob(digest, known.size, file, verification);
    }
    await file.close();
    return undefined;
  }

  #verification(digest: Digest, size: number): Verification {
    const progress = new Progress();
    progress.advance(size);
    const isRight = this.#verify(digest, size, progress);
    void isRight.then((right) => (right ? progress.complete() : progress.refuse()));
    return { progress, isRight };
  }

  /** Whether the file has its digest; never rejects. Opens the file itself, because a reader may close early. */
  async #verify(digest: Digest, size: number, { memory: progress }: Progress): Promise<boolean> {
    const algorithm = digestAlgorithm(digest);
    try {
      await using file = await open(this.#path(digest), 'r');
      const { hash } = this.#options.files.follow({ fd: file.fd, size, algorithm, progress });
      if ((await hash) === digestHex(digest)) return true;
      this.#options.onProblem?.(`the runtime's blob ${digest} is damaged: not served`);
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') this.#problem(error);
    }
    return false;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    for (const folder of this.#watchers.keys()) this.#forgetWatcher(folder);
    await this.#rescans;
    await this.#scanning;
  }
}

class RuntimeBlob implements Blob {
  readonly source = 'runtime';
  readonly digest: Digest;
  readonly size: number;
  readonly #file: FileHandle;
  readonly #verification: Verification;
  #closed = false;

  constructor(digest: Digest, size: number, file: FileHandle, verification: Verification) {
    this.digest = digest;
    this.size = size;
    this.#file = file;
    this.#verification = verification;
  }

  get content(): FileContent {
    const { size } = this;
    const { memory: progress } = this.#verification.progress;
    return { fd: this.#file.fd, size, progress, heldBack: size - new ChunkLayout(size).lastStart };
  }

  /** The runtime's content is not Weir's to drop. */
  corrupt(): Promise<void> {
    return Promise.resolve();
  }

  async read(target: Uint8Array, position: number): Promise<number> {
    const heldBack = new ChunkLayout(this.size).lastStart;
    let length = Math.min(target.length, this.size - position);
    if (length <= 0) return 0;
    if (position < heldBack) length = Math.min(length, heldBack - position);
    else if (!(await this.#verification.isRight)) {
      throw new WeirError('store_corrupt', `the runtime's blob ${this.digest} is damaged`);
    }
    const { bytesRead } = await this.#file.read(target, 0, length, position);
    if (bytesRead === 0)
      throw new WeirError('store_corrupt', `the runtime's blob ${this.digest} was cut short`);
    return bytesRead;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#file.close();
  }
}

async function sizeOf(path: string): Promise<number | undefined> {
  try {
    const found = await stat(path);
    return found.isFile() ? found.size : undefined;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}
