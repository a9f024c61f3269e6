/**
 * The registry client: manifests, blobs and passed-through answers, from the registries that callers name.
 *
 * Who owns what:
 *     Upstream (this file)  the calls, and the meaning of their answers
 *     Generation            what the settings make: a reload makes the next one
 *     Attempts              which endpoint is tried when, and how often (retry.ts, breaker.ts, endpoint.ts)
 *     HeadOrGet             HEAD where it is of use
 *     UpstreamBlob          the requests for a blob, resumed where its bytes stopped
 *     RegistryCall          one request with its credential (token.ts, docker-config.ts) and redirects
 *     Reaches               how far each of these may go (reach.ts), by address (address-guard.ts)
 *     Pools, Response       connections and bodies (undici): of documents here, of blobs in byte workers
 *     BlobTransport         sends requests for blobs through a byte worker, which reads their bodies
 *
 * A call flows downwards: Upstream → Attempts → RegistryCall → follow → send → a pool. Blobs pass through
 * UpstreamBlob, which starts again for each resumption. All failures are WeirErrors; those of the registry are
 * `upstream_*`.
 */
import { systemClock, type Clock } from '../util/clock.ts';
import { WeirError } from '../util/errors.ts';
import { digestAlgorithm, digestOf, type Digest } from '../oci/digest.ts';
import { ACCEPT_MANIFESTS, MAX_MANIFEST_BYTES } from '../oci/manifest.ts';
import { announcedType, documentType } from '../oci/manifest-type.ts';
import { formatManifestReference, type ManifestReference } from '../oci/reference.ts';
import type { RegistryHost, Repository } from '../oci/repository.ts';
import { DocumentRoom } from './document-room.ts';
import { contentRange, contentSize, digestHeader, expectStatus } from './registry-answer.ts';
import { Attempts } from './attempts.ts';
import { UpstreamBlob, type BlobStream } from './upstream-blob.ts';
import type { BlobTransport, PassThroughBlob, PassWish } from './blob-transport.ts';
import type { Caller } from './caller.ts';
import { endpointsOf, requestTarget, type Endpoint } from './endpoint.ts';
import { Generations, readSettings, type Generation } from './generation.ts';
import { HeadOrGet } from './head-or-get.ts';
import { passOn, type PassedThrough } from './passed-through.ts';
import { settingsOf, type UpstreamOptions, type UpstreamSettings } from './upstream-options.ts';
import type { Followed } from './redirect.ts';
import type { Response } from './response.ts';

/** Repetitions of a request with a small answer: its caller has a fallback and little time. */
const SMALL_RETRIES = 2;
const DEFAULT_ACCEPT = `${ACCEPT_MANIFESTS}, */*`;

export interface CallOptions {
  /** In whose name; default: this node's, with the configured credential. */
  readonly caller?: Caller | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface ManifestOptions extends CallOptions {
  readonly accept?: string | undefined;
}

export interface BlobOptions extends CallOptions {
  /** First byte; default 0. */
  readonly start?: number | undefined;
  /** After the last byte; default: the blob's end. */
  readonly end?: number | undefined;
  /** Bytes of the whole blob, as a manifest lists it. */
  readonly size?: number | undefined;
  /** Repetitions that bring no byte; default: as configured. */
  readonly retries?: number | undefined;
  /** All callers that wait for the blob now: if one is refused, the next one is asked for. */
  readonly callers?: (() => readonly Caller[]) | undefined;
  /** The byte worker that holds bytes before `start`; undefined: any will do. */
  readonly worker?: (() => number | undefined) | undefined;
}

export interface ManifestHead {
  readonly digest: Digest | undefined;
  readonly mediaType: string;
  /** Bytes. */
  readonly size: number | undefined;
}

export interface BlobHead {
  /** Bytes; undefined if the registry does not tell. */
  readonly size: number | undefined;
}

export interface FetchedManifest {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly bytes: Uint8Array;
}

/** Generations whose connections are known, so that {@link Upstream.close} ends them. */
const MAX_GENERATIONS = 4;

export class Upstream {
  readonly #blobs: BlobTransport;
  readonly #clock: Clock;
  readonly #documents: DocumentRoom;
  readonly #headOrGet: HeadOrGet;
  readonly #generations: Generations;
  /** What new calls use. */
  #now: Generation;
  /** The last ones before, whose calls may still run. */
  #old: readonly Generation[] = [];

  /**
   * @throws WeirError `config_invalid` if a CA file cannot be used, `name_invalid` if a registry's name is no host
   */
  constructor(options: UpstreamOptions) {
    const { clock = systemClock } = options;
    const read = readSettings(settingsOf(options));
    this.#clock = clock;
    this.#headOrGet = new HeadOrGet(clock);
    this.#blobs = options.blobs;
    this.#documents = options.documents ?? new DocumentRoom();
    this.#generations = new Generations(options);
    this.#now = this.#generations.next(read);
  }

  /**
   * Reads other settings and the files that they name, and changes nothing yet.
   * @returns makes new calls use them, while those that run go on as they began; undefined if all is as it was
   * @throws WeirError as the constructor
   */
  prepare(settings: UpstreamSettings): (() => void) | undefined {
    const read = readSettings(settings);
    if (read.key === this.#now.read.key) return undefined;
    return () => {
      const { pools } = this.#now;
      this.#old = [...this.#old, this.#now].slice(-MAX_GENERATIONS);
      this.#now = this.#generations.next(read);
      pools.retire();
    };
  }

  /** The head of the manifest of a tag or digest. @throws WeirError `manifest_unknown`, `upstream_*`, `aborted` */
  async headManifest(
    repository: Repository,
    reference: ManifestReference,
    options: ManifestOptions = {},
  ): Promise<ManifestHead> {
    const head = (): Promise<ManifestHead> =>
      this.#manifest('HEAD', repository, reference, options, async (response) => {
        response.discard();
        const announced = digestHeader(response);
        return {
          digest: reference.kind === 'digest' ? reference.digest : announced,
          mediaType: announcedType(response.header('content-type')),
          size: contentSize(response),
        };
      });
    return this.#headOrGet.ask(repository.registry, head, async () => {
      const { digest, mediaType, bytes } = await this.getManifest(repository, reference, options);
      return { digest, mediaType, size: bytes.length };
    });
  }

  /**
   * A manifest whose bytes have the requested digest, or for a tag the digest that the registry named.
   * @throws WeirError `manifest_unknown`, `digest_mismatch`, `upstream_too_large`, `upstream_*`, `aborted`
   */
  async getManifest(
    repository: Repository,
    reference: ManifestReference,
    options: ManifestOptions = {},
  ): Promise<FetchedManifest> {
    return this.#manifest('GET', repository, reference, options, async (response) => {
      const bytes = await response.read(MAX_MANIFEST_BYTES, this.#documents);
      const expected = reference.kind === 'digest' ? reference.digest : digestHeader(response);
      const digest = digestOf(bytes, expected && digestAlgorithm(expected));
      if (expected !== undefined && digest !== expected) {
        throw new WeirError('digest_mismatch', `${response.origin} sent a manifest that is not ${expected}`);
      }
      return {
        digest,
        mediaType: documentType(bytes) ?? announcedType(response.header('content-type')),
        bytes,
      };
    });
  }

  /** @throws WeirError `blob_unknown`, `upstream_*`, `aborted` */
  async headBlob(repository: Repository, digest: Digest, options: CallOptions = {}): Promise<BlobHead> {
    const ask = (method: 'GET' | 'HEAD', expected: readonly number[], range?: string): Promise<BlobHead> => {
      const request = { method, kind: 'blob', rest: `blobs/${digest}`, accept: '*/*', range } as const;
      return this.#small(repository, request, options, async (followed) => {
        const response = expectStatus(followed, expected, 'blob_unknown', this.#clock);
        response.discard();
        const isPart = response.status === 206;
        return { size: isPart ? contentRange(response)?.total : contentSize(response) };
      });
    };
    return this.#headOrGet.ask(
      repository.registry,
      () => ask('HEAD', [200]),
      () => ask('GET', [200, 206], 'bytes=0-0'),
    );
  }

  /**
   * Resolves when the first good answer has begun. Reading then resumes by itself; if that does not help, it throws a
   * WeirError. The bytes are not verified.
   * @throws WeirError `blob_unknown`, `range_unsatisfiable`, `upstream_*`, `aborted`
   */
  async openBlob(repository: Repository, digest: Digest, options: BlobOptions = {}): Promise<BlobStream> {
    const { caller = 'configured', callers, signal, start = 0, end, size, worker } = options;
    if (end !== undefined && end <= start) throw new WeirError('range_unsatisfiable', 'an empty range');
    const { registryCall, blobs, context, ...now } = this.#now;
    const retries = options.retries ?? now.retries;
    const request = { repository, digest, caller, callers, start, end, size, retries, signal, worker };
    return new UpstreamBlob(registryCall, blobs, context, request).open();
  }

  /** Lets a blob pass through a byte worker. @param worker the one of the client's connection @throws WeirError `worker_lost` */
  pass(worker: number | undefined, wish: PassWish): PassThroughBlob {
    return this.#blobs.pass(worker, wish);
  }

  /** The registry's own answer, even a 4xx. @throws WeirError `upstream_*` for 401, 403, 429, 5xx; `aborted` */
  async passThrough(
    repository: Repository,
    path: 'tags/list' | `referrers/${string}`,
    query: URLSearchParams,
    options: CallOptions = {},
  ): Promise<PassedThrough> {
    const request = { method: 'GET', kind: 'other', rest: path, accept: '*/*', query } as const;
    return this.#small(repository, request, options, async (followed, endpoint) => {
      const expected = endpoint.isMirror ? [200] : [200, 400, 404, 405];
      const response = expectStatus(followed, expected, 'not_found', this.#clock);
      return passOn(response, this.#documents);
    });
  }

  /**
   * Checks whether this node may ask the registry for that caller, as far as its name shows.
   * @throws WeirError `address_refused`
   */
  checkReach(registry: RegistryHost, caller: Caller): void {
    const { context, registryCall } = this.#now;
    const [endpoint] = endpointsOf(registry, context.registries).slice(-1);
    if (endpoint !== undefined) registryCall.checkReach(endpoint, caller);
  }

  /**
   * Whether a credential configured here may have been used for a caller without one. If there is none, such a caller
   * was treated like one of another node.
   */
  speaksFor({ registry, name }: Repository): boolean {
    const { dockerConfig, context } = this.#now;
    const { registries } = context;
    const hosts = endpointsOf(registry, registries).flatMap(({ credentialsOf }) => credentialsOf ?? []);
    return hosts.some((host) => {
      const { credential, clientCertificate } = registries.get(host) ?? {};
      if (credential !== undefined || clientCertificate !== undefined) return true;
      return dockerConfig?.isWithout({ registry: host, name }) === false;
    });
  }

  /** Ends all connections at once. */
  async close(): Promise<void> {
    this.#blobs.close();
    await Promise.all([this.#now, ...this.#old].map(({ pools }) => pools.close()));
  }

  #manifest<T>(
    method: 'GET' | 'HEAD',
    repository: Repository,
    reference: ManifestReference,
    options: ManifestOptions,
    read: (response: Response) => Promise<T>,
  ): Promise<T> {
    const rest = `manifests/${formatManifestReference(reference)}`;
    const request = { method, kind: 'manifest', rest, accept: options.accept ?? DEFAULT_ACCEPT } as const;
    return this.#small(repository, request, options, (followed) => {
      const response = expectStatus(followed, [200], 'manifest_unknown', this.#clock);
      return read(response);
    });
  }

  #small<T>(
    repository: Repository,
    request: {
      readonly method: 'GET' | 'HEAD';
      readonly kind: 'manifest' | 'blob' | 'other';
      readonly rest: string;
      readonly accept: string;
      readonly query?: URLSearchParams;
      readonly range?: string | undefined;
    },
    { caller = 'configured', signal }: CallOptions,
    read: (followed: Followed<Response>, endpoint: Endpoint) => Promise<T>,
  ): Promise<T> {
    const { method, kind, rest, accept, query, range } = request;
    const { registry, name } = repository;
    const { context, registryCall, control } = this.#now;
    const attempts = new Attempts(context, registry, SMALL_RETRIES, signal);
    return attempts.run(async (endpoint) => {
      const target = requestTarget(endpoint, name, rest, query);
      const headers = { accept, ...(range !== undefined && { range }) };
      const { headerTimeout } = attempts;
      const asked = { endpoint, kind, method, target, name, headers, headerTimeout, caller, signal };
      const followed = await registryCall.run(asked, control);
      return read(followed, endpoint);
    });
  }
}
