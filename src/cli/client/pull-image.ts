/**
 * Pulls a whole image as a runtime does (containerd's CRI). It resolves the tag by HEAD, fetches manifests by digest, then
 * the config and the layers, three at a time. Every digest is checked. The content goes to a sink, or nowhere.
 * `weir pull`, the demo and the benchmarks use it.
 */
import { toWeirError, WeirError } from '../../util/errors.ts';
import type { Digest } from '../../oci/digest.ts';
import { parseManifest, type Descriptor, type Manifest, type Platform } from '../../oci/manifest.ts';
import { isRetryable, retryDelay } from '../../upstream/retry.ts';
import { fetchBlob, MAX_IDLE_ATTEMPTS, type FetchedBlob } from './fetch-blob.ts';
import { hostPlatform, selectManifest } from '../../oci/platform.ts';
import { RegistrySession, type SessionOptions } from './registry-session.ts';

/** Blobs that containerd's CRI fetches at one time (max_concurrent_downloads). */
const DEFAULT_CONCURRENCY = 3;

/** Manifests of one image: real indexes list some dozens of platforms. */
const MAX_MANIFESTS = 256;

/** Depth of indexes within indexes; real images do not nest them deeper. */
const MAX_DEPTH = 3;

export type BlobRole = 'index' | 'manifest' | 'config' | 'layer';

export interface PlannedBlob extends Descriptor {
  readonly role: BlobRole;
}

export interface PulledBlob extends FetchedBlob {
  readonly role: BlobRole;
}

export type PullEvent =
  /** The manifests are read: these blobs will be fetched. */
  | { readonly kind: 'planned'; readonly digest: Digest; readonly blobs: readonly PlannedBlob[] }
  | { readonly kind: 'started'; readonly blob: PlannedBlob }
  /** `received` bytes of the blob so far. */
  | { readonly kind: 'bytes'; readonly blob: PlannedBlob; readonly received: number }
  | {
      readonly kind: 'retry';
      readonly blob: PlannedBlob;
      readonly received: number;
      readonly error: WeirError;
    }
  | { readonly kind: 'finished'; readonly blob: PlannedBlob; readonly result: PulledBlob };

export interface PullOptions extends SessionOptions {
  /** The platform to pull from an index; default: that of this machine. */
  readonly platform?: Platform | undefined;
  readonly allPlatforms?: boolean | undefined;
  readonly concurrency?: number | undefined;
  readonly onProgress?: ((event: PullEvent) => void) | undefined;
  /** Takes each manifest, verified. */
  readonly onManifest?: ((manifest: Descriptor, bytes: Uint8Array) => void | Promise<void>) | undefined;
  /** Takes the content; the pull waits for its promise. Only the end of a blob shows whether the digest is right. */
  readonly sink?:
    | ((blob: PlannedBlob, chunk: Uint8Array, offset: number) => void | Promise<void>)
    | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface PulledImage {
  /** The digest that the reference named. */
  readonly digest: Digest;
  /** Manifests, configs and layers in the order of their ends. */
  readonly blobs: readonly PulledBlob[];
  /** Of all blobs. */
  readonly bytes: number;
  readonly seconds: number;
  /** From the beginning to the first byte of a config or layer. */
  readonly firstByteSeconds: number;
  readonly requests: number;
}

/**
 * @throws WeirError `digest_mismatch`, `manifest_unknown`, `blob_unknown`, `upstream_unauthorized`, `handed_over`,
 *   `aborted`, and the error of a request that fails
 */
export async function pullImage(options: PullOptions): Promise<PulledImage> {
  await using session = new RegistrySession(options);
  return await new ImagePull(session, options).run();
}

class ImagePull {
  readonly #session: RegistrySession;
  readonly #options: PullOptions;
  readonly #started: number;
  readonly #done: PulledBlob[] = [];
  readonly #planned = new Map<Digest, PlannedBlob>();
  readonly #seen = new Set<Digest>();
  #firstByte: number | undefined;

  constructor(session: RegistrySession, options: PullOptions) {
    this.#session = session;
    this.#options = options;
    this.#started = session.clock.monotonic();
  }

  async run(): Promise<PulledImage> {
    const { signal, onProgress } = this.#options;
    const digest = await this.#retrying(() => this.#session.resolve(signal));
    await this.#readManifests(digest, undefined, 0);
    const blobs = [...this.#planned.values()];
    onProgress?.({ kind: 'planned', digest, blobs });
    await this.#fetchAll(blobs);
    const now = this.#session.clock.monotonic();
    return {
      digest,
      blobs: this.#done,
      bytes: this.#done.reduce((sum, blob) => sum + blob.size, 0),
      seconds: (now - this.#started) / 1000,
      firstByteSeconds: ((this.#firstByte ?? now) - this.#started) / 1000,
      requests: this.#session.requests,
    };
  }

  /** Fetches the manifest, follows an index to the wanted platforms, and notes the blobs to fetch. */
  async #readManifests(digest: Digest, mediaType: string | undefined, depth: number): Promise<void> {
    if (this.#seen.has(digest)) return;
    this.#seen.add(digest);
    if (depth > MAX_DEPTH || this.#seen.size > MAX_MANIFESTS) {
      throw new WeirError('upstream_protocol', `${digest}: more manifests than an image has`);
    }
    const manifest = await this.#fetchManifest(digest, mediaType);
    if (manifest.kind === 'image') {
      this.#plan(manifest.config, 'config');
      for (const layer of manifest.layers) this.#plan(layer, 'layer');
      return;
    }
    const { platform = hostPlatform(), allPlatforms } = this.#options;
    const wanted = allPlatforms ? manifest.manifests : [selectManifest(manifest.manifests, platform)];
    for (const child of wanted) await this.#readManifests(child.digest, child.mediaType, depth + 1);
  }

  async #fetchManifest(digest: Digest, mediaType: string | undefined): Promise<Manifest> {
    const { clock } = this.#session;
    const started = clock.monotonic();
    const answer = await this.#retrying(() =>
      this.#session.manifest(digest, mediaType, this.#options.signal),
    );
    const manifest = readManifest(answer.bytes, this.#session.origin);
    const { length: size } = answer.bytes;
    await this.#options.onManifest?.({ digest, size, mediaType: manifest.mediaType }, answer.bytes);
    const seconds = (clock.monotonic() - started) / 1000;
    this.#done.push({
      role: manifest.kind === 'index' ? 'index' : 'manifest',
      digest,
      size,
      seconds,
      firstByteSeconds: seconds,
      source: answer.source,
      retries: 0,
    });
    return manifest;
  }

  #plan(blob: Descriptor, role: BlobRole): void {
    if (!this.#planned.has(blob.digest)) this.#planned.set(blob.digest, { ...blob, role });
  }

  /** Fetches in order, some at a time. The first failure ends all. */
  async #fetchAll(blobs: readonly PlannedBlob[]): Promise<void> {
    const failed = new AbortController();
    const signals = [failed.signal, ...(this.#options.signal === undefined ? [] : [this.#options.signal])];
    const signal = AbortSignal.any(signals);
    const queue = blobs[Symbol.iterator]();
    const work = async (): Promise<void> => {
      for (const blob of queue) {
        if (signal.aborted) return;
        await this.#fetch(blob, signal);
      }
    };
    const workers = Array.from({ length: this.#options.concurrency ?? DEFAULT_CONCURRENCY }, () =>
      work().catch((error: unknown) => {
        failed.abort(toWeirError(error)); // the other downloads end with it as their reason
      }),
    );
    await Promise.all(workers);
    this.#options.signal?.throwIfAborted();
    failed.signal.throwIfAborted();
  }

  async #fetch(blob: PlannedBlob, signal: AbortSignal): Promise<void> {
    const { onProgress, sink } = this.#options;
    onProgress?.({ kind: 'started', blob });
    const fetched = await fetchBlob(this.#session, blob, {
      signal,
      onBytes: (chunk, offset) => {
        this.#firstByte ??= this.#session.clock.monotonic();
        onProgress?.({ kind: 'bytes', blob, received: offset + chunk.length });
        return sink?.(blob, chunk, offset);
      },
      onRetry: (received, error) => onProgress?.({ kind: 'retry', blob, received, error }),
    });
    const result = { ...fetched, role: blob.role };
    this.#done.push(result);
    onProgress?.({ kind: 'finished', blob, result });
  }

  /** Manifests are small: after a passing failure the whole request is repeated. */
  async #retrying<T>(request: () => Promise<T>): Promise<T> {
    const { clock } = this.#session;
    const { signal } = this.#options;
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await request();
      } catch (error) {
        const failure = toWeirError(error);
        if (signal?.aborted || !isRetryable(failure) || attempt + 1 >= MAX_IDLE_ATTEMPTS) throw failure;
        await clock.sleep(retryDelay(attempt, clock.random()), { signal });
      }
    }
  }
}

/** A manifest that cannot be read is the fault of the registry, not of the reference. */
function readManifest(bytes: Buffer, origin: string): Manifest {
  try {
    return parseManifest(bytes);
  } catch (cause) {
    throw new WeirError('upstream_protocol', `${origin}: ${toWeirError(cause).message}`, { cause });
  }
}
