/**
 * Blobs for the mirror: from the store, from the runtime's content, or from upstream, in this order.
 *
 * ```
 * open ─┬─ a provider has it, and the caller may have it ─────────────► LocalReader
 *       ├─ this registry's copy is arriving, and the caller may read ─► DownloadReader of that Download
 *       ├─ it is not here, or not proven to be this registry's:
 *       │  upstream decides about the caller ─────────────────────────► a new Download, DownloadReader
 *       └─ the store is full ─────────────────────────────────────────► PassThroughReader
 * ```
 *
 * Whatever is remembered of a blob belongs to one registry's blob: see RegistryBlob.
 */
import { abortable } from '../util/async.ts';
import { WeirError } from '../util/errors.ts';
import type { Digest } from '../oci/digest.ts';
import { registryBlobId, type RegistryBlob } from '../oci/registry-blob.ts';
import { cannotKeep, type Ingest } from '../store/store.ts';
import { isOffline, type PullRequest } from './access.ts';
import type { BlobRequest, BlobsOptions, Prefetched, PrefetchRequest } from './blobs-options.ts';
import { DownloadReader } from './download-reader.ts';
import { Download } from './download.ts';
import { HandedOver } from './handed-over.ts';
import { PassThrough } from './pass-through.ts';
import type { Leave } from '../util/semaphore.ts';
import { counting } from '../util/waits.ts';
import { DownloadPlaces } from './download-places.ts';
import { PrefetchedOrigins } from './prefetched-origins.ts';
import { LocalReader, type ByteSource, type BlobReader } from './blob-reader.ts';

/** Times that one caller tries to read a blob if the download that it waits for fails for its first caller. */
const MAX_TRIES = 3;

export class Blobs implements AsyncDisposable {
  readonly #options: BlobsOptions;
  /** By {@link registryBlobId}. */
  readonly #downloads: Map<string, Download> = new Map();
  readonly #handedOver: HandedOver;
  readonly #places: DownloadPlaces;
  readonly #passThrough: PassThrough;
  readonly #prefetched: PrefetchedOrigins = new PrefetchedOrigins();

  constructor(options: BlobsOptions) {
    this.#options = options;
    this.#handedOver = new HandedOver(options.clock);
    this.#passThrough = new PassThrough(options);
    this.#places = new DownloadPlaces(options.maxConcurrent);
  }

  /** Blobs that are arriving. */
  get inFlight(): number {
    return this.#downloads.size;
  }

  /**
   * @throws WeirError upstream's answer to this caller, `upstream_*` if upstream could not be asked,
   *   `handed_over`, `store_full`
   */
  async open(request: BlobRequest): Promise<BlobReader> {
    let place: Leave | undefined;
    try {
      for (let tries = 1; ; tries++) {
        request.signal?.throwIfAborted(); // otherwise a download would start that nobody waits for
        const found = await this.#openHere(request, tries >= MAX_TRIES);
        if (found === 'again') continue;
        if (found !== undefined) return found;
        if (place === undefined) {
          place = this.#places.tryTake();
          if (place === undefined) {
            place = await counting(
              request.waits,
              'queue',
              this.#places.take(blobOf(request), request.signal),
            );
            continue; // the blob may have arrived meanwhile
          }
        }
        if (this.#downloads.has(registryBlobId(blobOf(request)))) continue; // another request has started it meanwhile
        const taken = place;
        place = undefined;
        return await this.#startDownload(request, taken);
      }
    } finally {
      place?.();
    }
  }

  /**
   * The blob if it is here or arriving; undefined if it must be fetched; `again` if that has changed meanwhile.
   * @param isLast whether the caller gets the failure of another caller's download instead of one more try
   */
  async #openHere(request: BlobRequest, isLast: boolean): Promise<BlobReader | 'again' | undefined> {
    const { digest, signal } = request;
    const blob = blobOf(request);
    const id = registryBlobId(blob);
    const local = this.#downloads.has(id) ? undefined : await this.#openLocal(request);
    if (local !== undefined) return local;
    const download = this.#downloads.get(id);
    if (download?.failing === true) {
      await abortable(download.done, signal);
      return 'again';
    }
    if (request.resuming && !request.dependent) this.#handedOver.checkResumed(blob);
    if (download === undefined) {
      if (!request.dependent) this.#handedOver.checkNew(blob);
      return undefined;
    }
    try {
      await this.#opened(download, request);
    } catch (error) {
      // Upstream's answer to the first caller need not be its answer to this one.
      if (signal?.aborted === true || isOffline(error) || isLast) throw error;
      return 'again';
    }
    const joined = this.#options.access.join(request, digest, download.repository);
    await counting(request.waits, 'access', joined);
    const isThere = this.#downloads.get(id) === download && !download.failing;
    return isThere ? this.#attach(download, request) : 'again';
  }

  /**
   * Has the blob arrive before anybody reads it. The download goes on until it is whole, or the signal is aborted.
   * @throws WeirError why it did not arrive: upstream's answer to this caller, `store_full`, …; the signal's reason
   */
  async prefetch(request: PrefetchRequest): Promise<Prefetched> {
    const { digest, signal, proven = false } = request;
    const { access } = this.#options;
    for (const provider of this.#options.providers) {
      if ((await provider.stat(digest)) === undefined) continue;
      if (!proven || (await access.authorize(request, digest, 'blob')) === 'granted') return 'here';
    }
    if (this.#downloads.has(registryBlobId(blobOf(request)))) return 'later';
    const [place, reader] = [this.#places.tryTake(), {}];
    if (place === undefined) return 'later';
    const download = this.#begin(request, place);
    download.addReader(reader, request.caller);
    try {
      await abortable(download.done, signal);
      if (download.failure !== undefined) throw download.failure;
      this.#prefetched.add(download.blob, download.origin);
      return 'fetched';
    } catch (error) {
      access.failed(request, error);
      throw error;
    } finally {
      download.leave(reader);
    }
  }

  /** Size of the blob, for HEAD. */
  async head(request: BlobRequest): Promise<{ size: number; source: ByteSource }> {
    const { access, upstream, observer } = this.#options;
    for (const provider of this.#options.providers) {
      const found = await provider.stat(request.digest);
      if (found === undefined) continue;
      if ((await access.authorize(request, request.digest, 'blob')) === 'unproven') break;
      observer.cacheHit(provider.name);
      return { size: found.size, source: provider.name };
    }
    observer.cacheMiss();
    const imported = await access.importedSize(request, request.digest);
    if (imported !== undefined) return { size: imported, source: 'peer' };
    try {
      const head = await abortable(
        upstream.headBlob(request.repository, request.digest, { caller: request.caller }),
        request.signal,
      );
      const size = head.size ?? access.listedSize(request.repository, request.digest);
      if (size === undefined)
        throw new WeirError('upstream_protocol', 'upstream did not tell the size of the blob');
      access.accepted(request);
      return { size, source: 'upstream' };
    } catch (error) {
      access.failed(request, error);
      throw error;
    }
  }

  /** Blobs that are arriving from upstream alone. */
  get alone(): readonly Download[] {
    return [...this.#downloads.values()].filter((download) => !download.isShared && download.isOpen);
  }

  /** The download of a blob that is arriving; undefined if it is not. */
  arriving(blob: RegistryBlob): Pick<Download, 'readers' | 'isOpen' | 'ingest'> | undefined {
    return this.#downloads.get(registryBlobId(blob));
  }

  /** Whether the blob is being pulled together with peers. */
  isShared(blob: RegistryBlob): boolean {
    return this.#downloads.get(registryBlobId(blob))?.isShared === true;
  }

  /**
   * Whether bytes have come within the last `within` milliseconds, of this blob or of another one of the same registry
   * that is pulled together with peers. Such pulls share the node's request window, so on a slow link one waits for
   * the other. A blob that waits for a place has its turn while bytes of any blob come.
   * @param evenAlone whether it also counts if no peers take part
   */
  isArriving(blob: RegistryBlob, within: number, evenAlone = false): boolean {
    const own = this.#downloads.get(registryBlobId(blob));
    const since = this.#options.clock.monotonic() - within;
    if (own === undefined && this.#places.isWaiting(blob)) {
      return this.#downloads.values().some((download) => download.lastProgress > since);
    }
    if (evenAlone && own !== undefined && own.lastProgress > since) return true;
    if (own?.maybeShared !== true) return false;
    return this.#downloads
      .values()
      .some(
        (download) =>
          download.maybeShared && download.blob.registry === blob.registry && download.lastProgress > since,
      );
  }

  /** Whether the blob is being pulled, and peers pull it too or have it. */
  hasPeers(blob: RegistryBlob): boolean {
    return this.#downloads.get(registryBlobId(blob))?.hasPeers === true;
  }

  /** A response was cut short: for a while the runtime must go on with upstream itself. */
  handOver(blob: RegistryBlob): void {
    this.#handedOver.cut(blob);
  }

  /**
   * The blob if it is here and this caller may have it. The caller is checked first, because opening a blob of the
   * runtime may mean reading and hashing all of it.
   */
  async #openLocal(request: BlobRequest): Promise<BlobReader | undefined> {
    const { providers, access, observer } = this.#options;
    for (const provider of providers) {
      if ((await provider.stat(request.digest)) === undefined) continue;
      const authorized = access.authorize(request, request.digest, 'blob');
      if ((await counting(request.waits, 'access', authorized)) === 'unproven') return undefined;
      const blob = await counting(request.waits, 'disk', provider.open(request.digest));
      if (blob === undefined) continue;
      observer.cacheHit(blob.source);
      return new LocalReader(blob, this.#prefetched.take(blobOf(request)));
    }
    return undefined;
  }

  /** Waits until the download's size is known, and upstream admits its first caller. */
  #opened(download: Download, { waits, signal }: BlobRequest): Promise<void> {
    const cause = (): 'access' | 'registry' => (download.isShared ? 'access' : 'registry');
    return counting(waits, cause, abortable(download.opened, signal));
  }

  #begin(request: PullRequest & { readonly digest: Digest }, leave: Leave): Download {
    const { access, observer, clock, linger, store, upstream } = this.#options;
    const { digest } = request;
    const id = registryBlobId(blobOf(request));
    const download: Download = new Download(request, digest, {
      upstream,
      store,
      clock,
      linger,
      admit: (asked) => access.admit(asked, digest),
      listedSize: () => access.listedSize(request.repository, digest),
      onDelivered: () => {
        // Bytes from peers do not show that upstream accepts the caller.
        if (download.isShared) access.proven(request.repository, digest);
        else access.delivered(request, digest);
        return this.#dropSecondCopy(digest);
      },
      onDone: (failure) => {
        leave();
        if (this.#downloads.get(id) === download) this.#downloads.delete(id);
        if (failure !== undefined) this.#handedOver.failed(download.blob, failure);
        observer.pulled(digest, failure);
      },
      onWrong: () => this.#handedOver.wrong(blobOf(request)),
      onProblem: (error) => observer.problem(`pull of ${digest}`, error),
      share: this.#options.share,
    });
    this.#downloads.set(id, download);
    return download;
  }

  async #startDownload(request: BlobRequest, leave: Leave): Promise<BlobReader> {
    const { access, observer } = this.#options;
    observer.cacheMiss();
    const download = this.#begin(request, leave);
    const placeholder = {};
    download.addReader(placeholder, request.caller); // so that the download stops if this caller gives up
    try {
      await this.#opened(download, request);
      if (!download.isShared) access.accepted(request);
      return this.#attach(download, request);
    } catch (error) {
      access.failed(request, error);
      if (cannotKeep(error))
        return await counting(request.waits, 'registry', this.#passThrough.open(request));
      throw error;
    } finally {
      download.leave(placeholder);
    }
  }

  /**
   * The runtime already has the blob, of another registry. The copy only proved that this registry has it, and is
   * not kept.
   */
  async #dropSecondCopy(digest: Digest): Promise<void> {
    const { providers, store } = this.#options;
    for (const provider of providers) {
      if (provider !== store && (await provider.stat(digest)) !== undefined) await store.delete(digest);
    }
  }

  #attach(download: Download, request: BlobRequest): BlobReader {
    const { clock, stallTimeout } = this.#options;
    const { caller } = request;
    const passThrough = (prefix: Ingest, signal: AbortSignal): Promise<BlobReader> =>
      this.#passThrough.open({ ...request, signal }, prefix);
    const wasWrong = (): boolean => this.#handedOver.wasWrong(download.blob);
    return new DownloadReader(download, { caller, clock, stallTimeout, wasWrong, passThrough });
  }

  /** Stops all downloads; bytes that have arrived are kept. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#downloads.values()].map((download) => download.stop()));
  }
}

function blobOf({ repository, digest }: Pick<BlobRequest, 'repository' | 'digest'>): RegistryBlob {
  return { registry: repository.registry, digest };
}
