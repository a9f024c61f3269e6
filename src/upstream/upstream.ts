/**
 * The registry client: manifests, blobs and passed-through answers, from the registries that callers name.
 *
 * Who owns what:
 *     Upstream (this file)  the calls, and the meaning of their answers
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
import { systemClock } from '../util/clock.ts';
import { WeirError } from '../util/errors.ts';
import { digestAlgorithm, digestOf, type Digest } from '../oci/digest.ts';
import { ACCEPT_MANIFESTS, MAX_MANIFEST_BYTES } from '../oci/manifest.ts';
import { announcedType, documentType } from '../oci/manifest-type.ts';
import { formatManifestReference, type ManifestReference } from '../oci/reference.ts';
import type { RegistryHost, Repository } from '../oci/repository.ts';
import { DocumentRoom } from './document-room.ts';
import { contentRange, contentSize, digestHeader, expectStatus } from './registry-answer.ts';
import { Attempts, SlowRegistries, type AttemptsContext } from './attempts.ts';
import { UpstreamBlob, type BlobStream } from './upstream-blob.ts';
import type { BlobTransport, PassThroughBlob, PassWish } from './blob-transport.ts';
import { Breaker } from './breaker.ts';
import type { Caller } from './caller.ts';
import { withCertificates } from './certs-folders.ts';
import { DockerConfig } from './docker-config.ts';
import { endpointsOf, requestTarget, type Endpoint } from './endpoint.ts';
import { HeadOrGet } from './head-or-get.ts';
import { RegistryCall } from './registry-call.ts';
import { passOn, type PassedThrough } from './passed-through.ts';
import { Pools, shareConnections } from './pools.ts';
import { Reaches } from './reach.ts';
import { LIMITS, type UpstreamOptions } from './upstream-options.ts';
import type { Followed } from './redirect.ts';
import type { Response } from './response.ts';
import { PoolTransport } from './transport.ts';
import { readTrusted, TrustStore } from './trust.ts';

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

export class Upstream {
  readonly #pools: Pools;
  readonly #control: PoolTransport;
  readonly #blobs: BlobTransport;
  readonly #registryCall: RegistryCall;
  readonly #context: AttemptsContext;
  readonly #retries: number;
  readonly #documents: DocumentRoom;
  readonly #dockerConfig: DockerConfig | undefined;
  readonly #headOrGet: HeadOrGet;

  /**
   * @throws WeirError `config_invalid` if a CA file cannot be used, `name_invalid` if a registry's name is no host
   */
  constructor(options: UpstreamOptions) {
    const { registries: named = new Map(), clock = systemClock, observer, dockerConfig, via } = options;
    const registries = withCertificates(named, options.certificates);
    const profiles = [...registries.keys()]
      .flatMap((host) => endpointsOf(host, registries))
      .map(({ tls }) => tls);
    const connections = shareConnections(options.maxConnections ?? LIMITS.maxConnections);
    const trusted = readTrusted(options.caFile, profiles);
    const common = {
      connectTimeout: options.connectTimeout ?? LIMITS.connectTimeout,
      headerTimeout: options.headerTimeout ?? LIMITS.headerTimeout,
      stallTimeout: options.stallTimeout ?? LIMITS.stallTimeout,
      environment: options.environment ?? process.env,
    };
    this.#pools = new Pools({
      ...common,
      connections,
      trust: new TrustStore(trusted),
      lookup: options.lookup,
    });
    this.#control = new PoolTransport(this.#pools, 'control');
    this.#headOrGet = new HeadOrGet(clock);
    this.#blobs = options.blobs;
    this.#blobs.configure({ ...common, connections: connections.blob, trusted });
    this.#retries = options.retries ?? LIMITS.retries;
    this.#documents = options.documents ?? new DocumentRoom();
    const { headerTimeout } = common;
    this.#context = {
      registries,
      breaker: new Breaker(clock),
      slow: new SlowRegistries(clock),
      clock,
      observer,
      headerTimeout,
    };
    const warn = options.warn ?? (() => undefined);
    this.#dockerConfig = dockerConfig ? new DockerConfig(dockerConfig, clock, warn) : undefined;
    this.#registryCall = new RegistryCall({
      control: this.#control,
      reaches: new Reaches(named, options.allowPrivate ?? LIMITS.allowPrivate),
      registries,
      dockerConfig: this.#dockerConfig,
      warn,
      clock,
      observer,
      headers: {
        'user-agent': options.userAgent,
        'accept-encoding': 'identity',
        ...(via !== undefined && { 'weir-via': via }),
      },
    });
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
        const response = expectStatus(followed, expected, 'blob_unknown', this.#context.clock);
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
    const retries = options.retries ?? this.#retries;
    const request = { repository, digest, caller, callers, start, end, size, retries, signal, worker };
    return new UpstreamBlob(this.#registryCall, this.#blobs, this.#context, request).open();
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
      const response = expectStatus(followed, expected, 'not_found', this.#context.clock);
      return passOn(response, this.#documents);
    });
  }

  /**
   * Checks whether this node may ask the registry for that caller, as far as its name shows.
   * @throws WeirError `address_refused`
   */
  checkReach(registry: RegistryHost, caller: Caller): void {
    const [endpoint] = endpointsOf(registry, this.#context.registries).slice(-1);
    if (endpoint !== undefined) this.#registryCall.checkReach(endpoint, caller);
  }

  /**
   * Whether a credential configured here may have been used for a caller without one. If there is none, such a caller
   * was treated like one of another node.
   */
  speaksFor({ registry, name }: Repository): boolean {
    const { registries } = this.#context;
    const hosts = endpointsOf(registry, registries).flatMap(({ credentialsOf }) => credentialsOf ?? []);
    return hosts.some((host) => {
      const { credential, clientCertificate } = registries.get(host) ?? {};
      if (credential !== undefined || clientCertificate !== undefined) return true;
      return this.#dockerConfig?.isWithout({ registry: host, name }) === false;
    });
  }

  /** Ends all connections at once. */
  async close(): Promise<void> {
    this.#blobs.close();
    await this.#pools.close();
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
      const response = expectStatus(followed, [200], 'manifest_unknown', this.#context.clock);
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
    const attempts = new Attempts(this.#context, registry, SMALL_RETRIES, signal);
    return attempts.run(async (endpoint) => {
      const target = requestTarget(endpoint, name, rest, query);
      const headers = { accept, ...(range !== undefined && { range }) };
      const { headerTimeout } = attempts;
      const asked = { endpoint, kind, method, target, name, headers, headerTimeout, caller, signal };
      const followed = await this.#registryCall.run(asked, this.#control);
      return read(followed, endpoint);
    });
  }
}
