/**
 * Prefetch: once the runtime has asked for a layer of an image, the layers after it are fetched before it asks for them.
 * containerd and Docker ask for three at a time, from the first to the last, and leave out those that they have. So a
 * layer after the last one that was asked for is asked for, too, unless it is here. Without prefetch, an image of many small
 * layers waits for each of them to find its peers.
 *
 * It is a help for small layers: no more is under way at a time than {@link MAX_OUTSTANDING} bytes, with what the runtime
 * reads. Large layers keep the link busy by themselves, and are not to share it with later ones. The caller is the one that
 * has asked for the layer before, so nothing is fetched that it may not have.
 *
 * Where the runtime's content cannot be seen, it is not known what the runtime has, and nothing is prefetched. Layers that
 * nobody asks for are counted; if they are many, prefetch stops for a while.
 */
import { LRUCache } from 'lru-cache';
import { HOUR, MIB, MINUTE, type Clock } from '../util/clock.ts';
import { isWeirError, WeirError } from '../util/errors.ts';
import { parseManifest, type Descriptor } from '../oci/manifest.ts';
import { registryBlobId } from '../oci/registry-blob.ts';
import type { Repository } from '../oci/repository.ts';
import type { BlobReader } from './blob-reader.ts';
import type { Blobs } from './blobs.ts';
import type { BlobRequest } from './blobs-options.ts';

/** Bytes of the layers that the runtime reads and that are being prefetched. */
const MAX_OUTSTANDING = 16 * MIB;
/** Layers that are being prefetched at a time. */
const MAX_AT_ONCE = 8;
/** Layers of images whose manifest a runtime has read. */
const MAX_LAYERS = 8192;
/** Milliseconds after which a layer that nobody has asked for was fetched in vain. */
const VAIN_AFTER = 10 * MINUTE;
/** Of so many layers, at most so many in vain; otherwise prefetch stops for so many milliseconds. */
const OUTCOMES = 32;
const MAX_VAIN = 8;
const PAUSE = 1 * HOUR;

export interface PrefetchObserver {
  /** A prefetched layer was asked for, or was not in time. */
  prefetched(bytes: number, outcome: 'used' | 'vain'): void;
  problem(message: string, error: unknown): void;
}

export interface PrefetchOptions {
  readonly blobs: Pick<Blobs, 'open' | 'prefetch'>;
  /** Whether it can be seen which blobs the runtime has. */
  readonly canSee: () => boolean;
  /** Bytes of prefetched layers that nobody has asked for yet, at most. */
  readonly maxUnused: () => number;
  readonly clock: Clock;
  /** Milliseconds that it goes on for an image of which nothing is being read. */
  readonly linger: number;
  readonly observer: PrefetchObserver;
}

interface Image {
  readonly repository: Repository;
  readonly layers: readonly Descriptor[];
  /** The layer behind the last one that was asked for, or is prefetched. */
  next: number;
  /** Layers that the runtime is reading. */
  readers: number;
  /** Ends what is prefetched; undefined if nothing has been asked for lately. */
  stop: AbortController | undefined;
}

interface Ahead {
  readonly size: number;
  /** Ends the wait for somebody to ask for it. */
  readonly asked: AbortController;
}

export class Prefetch implements Disposable {
  readonly #options: PrefetchOptions;
  readonly #over = new AbortController();
  /** By {@link registryBlobId} of a layer: the image whose manifest was read last. */
  readonly #images = new LRUCache<string, Image>({ max: MAX_LAYERS });
  /** Prefetched, or being so, and not asked for. */
  readonly #ahead = new Map<string, Ahead>();
  #unused = 0;
  #outstanding = 0;
  #running = 0;
  /** The latest outcomes: whether each was in vain. */
  #outcomes: boolean[] = [];
  /** Milliseconds, monotonic. */
  #pausedUntil = Number.NEGATIVE_INFINITY;

  constructor(options: PrefetchOptions) {
    this.#options = options;
  }

  [Symbol.dispose](): void {
    this.#over.abort(new WeirError('aborted', 'the node stops'));
  }

  /** A runtime has read this manifest, or anything else that is stored like one. */
  listed(repository: Repository, bytes: Uint8Array): void {
    const layers = layersIn(bytes);
    if (layers.length < 2) return;
    const image: Image = { repository, layers, next: 0, readers: 0, stop: undefined };
    for (const { digest } of layers) {
      const id = registryBlobId({ registry: repository.registry, digest });
      // One that is being pulled goes on.
      if ((this.#images.get(id)?.readers ?? 0) === 0) this.#images.set(id, image);
    }
  }

  /** As {@link Blobs.open}. */
  async open(request: BlobRequest): Promise<BlobReader> {
    const id = registryBlobId({ registry: request.repository.registry, digest: request.digest });
    this.#asked(id);
    const reader = await this.#options.blobs.open(request);
    const image = this.#images.get(id);
    if (image === undefined) return reader;
    this.#begin(image, request, reader.size);
    return watched(reader, () => this.#end(image, reader.size));
  }

  #asked(id: string): void {
    const ahead = this.#ahead.get(id);
    if (ahead === undefined) return;
    ahead.asked.abort();
    this.#forget(id, ahead, 'used');
  }

  #forget(id: string, ahead: Ahead, outcome: 'used' | 'vain'): void {
    if (this.#ahead.get(id) !== ahead) return;
    this.#ahead.delete(id);
    this.#unused -= ahead.size;
    this.#options.observer.prefetched(ahead.size, outcome);
    this.#outcomes = [...this.#outcomes, outcome === 'vain'].slice(-OUTCOMES);
    if (this.#outcomes.filter(Boolean).length <= MAX_VAIN) return;
    this.#outcomes = [];
    this.#pausedUntil = this.#options.clock.monotonic() + PAUSE;
  }

  #begin(image: Image, request: BlobRequest, size: number): void {
    const index = image.layers.findIndex(({ digest }) => digest === request.digest);
    image.next = Math.max(image.next, index + 1);
    image.readers += 1;
    image.stop ??= new AbortController();
    this.#outstanding += size;
    this.#pump(image, request);
  }

  #end(image: Image, size: number): void {
    image.readers -= 1;
    this.#outstanding -= size;
    if (image.readers === 0) void this.#leave(image);
  }

  /** Never rejects: nothing of the image is being read; after a while nothing more is prefetched. */
  async #leave(image: Image): Promise<void> {
    const { stop } = image;
    const { clock, linger } = this.#options;
    try {
      await clock.sleep(linger, { signal: this.#over.signal });
    } catch {
      return; // the node stops, and with it all downloads
    }
    if (image.readers > 0 || image.stop !== stop) return;
    stop?.abort(new WeirError('aborted', 'the runtime has gone'));
    image.stop = undefined;
  }

  #pump(image: Image, request: BlobRequest): void {
    const { clock, canSee } = this.#options;
    if (clock.monotonic() < this.#pausedUntil || !canSee()) return;
    while (this.#running < MAX_AT_ONCE && image.stop !== undefined) {
      const layer = image.layers[image.next];
      if (layer === undefined || !this.#hasRoom(layer.size)) return;
      image.next += 1;
      void this.#fetch(image, layer, request, image.stop.signal);
    }
  }

  #hasRoom(size: number): boolean {
    const isLittle = this.#outstanding + size <= MAX_OUTSTANDING;
    return isLittle && this.#unused + size <= this.#options.maxUnused();
  }

  /** Never rejects. */
  async #fetch(image: Image, layer: Descriptor, request: BlobRequest, signal: AbortSignal): Promise<void> {
    const { digest, size } = layer;
    const { blobs, observer } = this.#options;
    const id = registryBlobId({ registry: image.repository.registry, digest });
    const ahead: Ahead = { size, asked: new AbortController() };
    this.#running += 1;
    this.#outstanding += size;
    this.#unused += size;
    this.#ahead.set(id, ahead);
    let isFetched = false;
    try {
      const { repository, caller } = request;
      isFetched = (await blobs.prefetch({ repository, caller, digest, signal })) === 'fetched';
    } catch (error) {
      // The runtime will ask for it, and gets the failure if it lasts.
      if (!isWeirError(error, 'aborted')) observer.problem(`prefetch of ${digest}`, error);
    }
    this.#running -= 1;
    this.#outstanding -= size;
    if (isFetched) void this.#expire(id, ahead);
    else if (this.#ahead.delete(id)) this.#unused -= size; // it was here, or arriving for somebody else
    this.#pump(image, request);
  }

  /** Never rejects. */
  async #expire(id: string, ahead: Ahead): Promise<void> {
    try {
      const signal = AbortSignal.any([ahead.asked.signal, this.#over.signal]);
      await this.#options.clock.sleep(VAIN_AFTER, { signal });
      this.#forget(id, ahead, 'vain');
    } catch {
      // Somebody has asked for it, or the node stops.
    }
  }
}

function layersIn(bytes: Uint8Array): readonly Descriptor[] {
  try {
    const manifest = parseManifest(bytes);
    // A descriptor with URLs of its own need not be in the registry.
    return manifest.kind === 'image' ? manifest.layers.filter(({ urls = [] }) => urls.length === 0) : [];
  } catch (error) {
    if (isWeirError(error, 'reference_invalid')) return [];
    throw error;
  }
}

/** The same reader; `over` is called once, when it is closed. */
function watched(reader: BlobReader, over: () => void): BlobReader {
  let isOver = false;
  return {
    digest: reader.digest,
    size: reader.size,
    get source() {
      return reader.source;
    },
    get origin() {
      return reader.origin;
    },
    ready: (start, signal) => reader.ready(start, signal),
    sendTo: (target, start, end) => reader.sendTo(target, start, end),
    async [Symbol.asyncDispose]() {
      if (!isOver) over();
      isOver = true;
      await reader[Symbol.asyncDispose]();
    },
  };
}
