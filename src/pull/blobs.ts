/**
 * Blobs for the mirror: from the store, from the runtime's content, or from upstream, in this order.
 *
 * ```
 * open ─┬─ a provider has it, and the caller may have it ─────────► LocalReading
 *       ├─ it is on its way (Flight), and the caller may have it ─► FlightReading
 *       ├─ it is not here: upstream decides about the caller ─────► Flight, FlightReading
 *       └─ no room, or only upstream's own bytes may go out ──────► ThroughReading
 * ```
 */
import { LRUCache } from 'lru-cache';
import { abortable } from '../abortable.ts';
import { MINUTE, SECOND, type Clock } from '../clock.ts';
import { isWeirError, WeirError } from '../errors.ts';
import type { Digest } from '../oci/digest.ts';
import type { ReceiveBudget } from '../store/receive-budget.ts';
import type { BlobProvider, Ingest, Store } from '../store/store.ts';
import type { Upstream } from '../upstream/upstream.ts';
import { isOffline, type Access, type PullRequest } from './access.ts';
import { FlightReading } from './flight-reading.ts';
import { Flight, type FlightOptions } from './flight.ts';
import { LocalReading, type ByteSource, type Reading } from './reading.ts';
import { ThroughReading } from './through.ts';

/** Each keeps up to one chunk (8 MiB at most) and one connection. */
const MAX_THROUGH = 16;
/** After a response was cut, retries of it go upstream for this long: the mirror had its chance. */
const HANDED_OVER_TTL: number = 1 * MINUTE;
/** After a pull failed with all its tries, other requests for the blob go upstream at once for this long. */
const FAILED_TTL: number = 10 * SECOND;
/** Blobs that are remembered for either reason. */
const MAX_REMEMBERED = 1_000;
/** How often a flight that failed for its first caller is begun anew for another. */
const MAX_TRIES = 3;

export interface BlobRequest extends PullRequest {
  readonly digest: Digest;
  /** The runtime goes on with a response that was cut (a Range that does not start at 0). */
  readonly resuming: boolean;
  /** The runtime cannot go upstream for this blob by itself. */
  readonly dependent: boolean;
}

export interface BlobsObserver {
  cacheHit(source: ByteSource): void;
  cacheMiss(): void;
  problem(message: string, error: unknown): void;
  pulled(digest: Digest, failure: WeirError | undefined): void;
}

export interface BlobsOptions {
  /** Asked in this order. */
  readonly providers: readonly BlobProvider[];
  readonly store: Store;
  readonly upstream: Pick<Upstream, 'openBlob' | 'headBlob'>;
  readonly access: Access;
  /** What may be received and not be written yet. */
  readonly room: ReceiveBudget;
  readonly clock: Clock;
  readonly observer: BlobsObserver;
  /** Milliseconds. */
  readonly linger: number;
  readonly stallTimeout: number;
  /** How many blobs may arrive at once. */
  readonly maxConcurrent: number;
  /** Finds company for a pull; undefined where there are no peers at all. */
  readonly share?: FlightOptions['share'];
}

export class Blobs implements AsyncDisposable {
  readonly #options: BlobsOptions;
  readonly #flights: Map<Digest, Flight> = new Map();
  readonly #handedOver: LRUCache<Digest, true>;
  /**
   * Pulls that failed a moment ago. containerd asks four times for a blob that breaks off at its start; going
   * through all tries each time would add up.
   */
  readonly #failed: LRUCache<Digest, WeirError>;
  #through = 0;

  constructor(options: BlobsOptions) {
    this.#options = options;
    const perf = { now: (): number => options.clock.monotonic() };
    this.#handedOver = new LRUCache({ max: MAX_REMEMBERED, ttl: HANDED_OVER_TTL, perf });
    this.#failed = new LRUCache({ max: MAX_REMEMBERED, ttl: FAILED_TTL, perf });
  }

  /** Blobs that are arriving. */
  get inFlight(): number {
    return this.#flights.size;
  }

  /**
   * @throws WeirError what upstream answered this caller, `upstream_*` where it could not be asked,
   *   `handed_over`, `too_many_requests`, `store_full`
   */
  async open(request: BlobRequest): Promise<Reading> {
    const { access } = this.#options;
    const { digest } = request;
    for (let tries = 1; ; tries++) {
      request.signal?.throwIfAborted(); // before a flight takes off for which nobody would wait
      const flight = this.#flights.get(digest);
      const local = flight === undefined ? await this.#openLocal(digest) : undefined;
      if (local !== undefined) return this.#authorized(request, local);
      if (flight === undefined && this.#flights.has(digest)) continue; // it took off meanwhile
      if (flight?.doomed === true) {
        await abortable(flight.landed, request.signal);
        continue;
      }
      if (request.resuming && this.#handedOver.has(digest)) {
        throw new WeirError('handed_over', `${digest} was cut off: go on with it from upstream`);
      }
      const failed = request.dependent ? undefined : this.#failed.get(digest);
      if (flight === undefined && failed !== undefined) {
        const message = `a pull of ${digest} failed a moment ago: ${failed.message}`;
        throw new WeirError('handed_over', message, { cause: failed });
      }
      if (flight === undefined) return this.#takeOff(request);
      try {
        await abortable(flight.opened, request.signal);
      } catch (error) {
        // What the first caller was told need not hold for this one.
        if (request.signal?.aborted === true || isOffline(error) || tries >= MAX_TRIES) throw error;
        continue;
      }
      if ((await access.authorize(request, digest, 'blob', flight.repository)) === 'unproven') {
        return this.#goThrough(request);
      }
      if (this.#flights.get(digest) === flight && !flight.doomed) return this.#aboard(flight, request);
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
    try {
      const { size } = await abortable(
        upstream.headBlob(request.repository, request.digest, { credential: request.credential }),
        request.signal,
      );
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
  get alone(): readonly Flight[] {
    return [...this.#flights.values()].filter((flight) => !flight.isShared && flight.isOpen);
  }

  /** Who read a blob that is arriving. */
  readers(digest: Digest): number {
    return this.#flights.get(digest)?.readers ?? 0;
  }

  /** Whether the blob is being pulled in company. */
  isShared(digest: Digest): boolean {
    return this.#flights.get(digest)?.isShared === true;
  }

  /**
   * Whether bytes of the blob have come within the last so many milliseconds, or of another one that is pulled in
   * company: they share what the node asks for, and on a slow link one waits for the other.
   */
  isArriving(digest: Digest, within: number): boolean {
    if (this.#flights.get(digest)?.maybeShared !== true) return false;
    const since = this.#options.clock.monotonic() - within;
    return this.#flights.values().some((flight) => flight.maybeShared && flight.lastProgress > since);
  }

  /** Whether the blob is pulled, and others pull it too, or have it. */
  hasCompany(digest: Digest): boolean {
    return this.#flights.get(digest)?.hasCompany === true;
  }

  /** A response was cut short: for a while the runtime is to go on with upstream itself. */
  handOver(digest: Digest): void {
    this.#handedOver.set(digest, true);
  }

  async #openLocal(digest: Digest): Promise<Reading | undefined> {
    for (const provider of this.#options.providers) {
      const blob = await provider.open(digest);
      if (blob !== undefined) return new LocalReading(blob);
    }
    return undefined;
  }

  async #authorized(request: BlobRequest, local: Reading): Promise<Reading> {
    const { access, observer } = this.#options;
    try {
      if ((await access.authorize(request, request.digest, 'blob')) === 'granted') {
        observer.cacheHit(local.source);
        return local;
      }
    } catch (error) {
      await local[Symbol.asyncDispose]();
      throw error;
    }
    await local[Symbol.asyncDispose]();
    return this.#goThrough(request);
  }

  async #takeOff(request: BlobRequest): Promise<Reading> {
    const { maxConcurrent, access, observer, clock, linger, store, room, upstream } = this.#options;
    const { digest } = request;
    if (this.#flights.size >= maxConcurrent) {
      throw new WeirError('too_many_requests', `${maxConcurrent} blobs are being pulled already`);
    }
    observer.cacheMiss();
    const flight: Flight = new Flight(request, digest, {
      upstream,
      store,
      room,
      clock,
      linger,
      onDelivered: () => {
        // What peers gave says nothing about the caller.
        if (flight.isShared) access.proven(request.repository, digest);
        else access.delivered(request, digest);
      },
      onLanded: (failure) => {
        if (this.#flights.get(digest) === flight) this.#flights.delete(digest);
        if (failure !== undefined && saysNothingOfCaller(failure)) this.#failed.set(digest, failure);
        observer.pulled(digest, failure);
      },
      onProblem: (error) => observer.problem(`pull of ${digest}`, error),
      share: this.#options.share,
    });
    this.#flights.set(digest, flight);
    const placeholder = {};
    flight.board(placeholder, request.credential); // so that the flight stops when this caller gives up
    try {
      await abortable(flight.opened, request.signal);
      if (!flight.isShared) access.accepted(request);
      return this.#aboard(flight, request);
    } catch (error) {
      access.failed(request, error);
      if (isWeirError(error, 'store_full')) return await this.#goThrough(request);
      throw error;
    } finally {
      flight.leave(placeholder);
    }
  }

  #aboard(flight: Flight, request: BlobRequest): Reading {
    const { clock, stallTimeout } = this.#options;
    const { credential } = request;
    const goThrough = (prefix: Ingest): Promise<Reading> =>
      this.#goThrough({ ...request, signal: undefined }, prefix);
    return new FlightReading(flight, { credential, clock, stallTimeout, goThrough });
  }

  async #goThrough(request: BlobRequest, prefix?: Ingest): Promise<Reading> {
    const { upstream, access, stallTimeout } = this.#options;
    if (this.#through >= MAX_THROUGH) {
      throw new WeirError(
        'store_full',
        `${MAX_THROUGH} blobs are being passed through without storing already`,
      );
    }
    this.#through++;
    const onClose = (): void => {
      this.#through--;
    };
    const { digest } = request;
    const onVerified = (): void => access.delivered(request, digest);
    try {
      return await ThroughReading.open({
        upstream,
        request,
        digest,
        prefix,
        stallTimeout,
        onVerified,
        onClose,
      });
    } catch (error) {
      onClose();
      access.failed(request, error);
      throw error;
    }
  }

  /** Stops all that is arriving; what has arrived is kept. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#flights.values()].map((flight) => flight.stop()));
  }
}

/** Whether a pull failed in a way that another caller would meet, too. */
function saysNothingOfCaller(failure: WeirError): boolean {
  return isOffline(failure) || isWeirError(failure, 'upstream_protocol', 'digest_mismatch');
}
