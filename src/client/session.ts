/**
 * The requests of one pull, made as containerd makes them, to a mirror (with `?ns=`) or to the registry itself.
 * Credentials, token servers, redirects, TLS and proxies are those of the upstream client.
 */
import { SECOND, systemClock, type Clock } from '../clock.ts';
import { isWeirError, WeirError } from '../errors.ts';
import { digestAlgorithm, digestOf, tryParseDigest, type Digest } from '../oci/digest.ts';
import { ACCEPT_MANIFESTS, MAX_MANIFEST_BYTES, type Descriptor } from '../oci/manifest.ts';
import { formatManifestReference, type ImageReference } from '../oci/reference.ts';
import { repositoryKey, type RegistryHost } from '../oci/repository.ts';
import { contentRange, expectStatus, protocolError, refuseEncoding } from '../upstream/answer.ts';
import { DockerConfig } from '../upstream/docker-config.ts';
import { endpointsOf, requestTarget, type Endpoint } from '../upstream/endpoint.ts';
import { Exchange } from '../upstream/exchange.ts';
import { Pools } from '../upstream/pools.ts';
import type { Environment } from '../upstream/proxy.ts';
import type { RegistryConfig } from '../upstream/registry-config.ts';
import type { Response } from '../upstream/response.ts';
import { TrustStore } from '../upstream/trust.ts';

/** Milliseconds to connect. */
const CONNECT_TIMEOUT: number = 5 * SECOND;
/** Milliseconds until an answer begins; a mirror may itself wait for a slow registry. */
const HEADER_TIMEOUT: number = 60 * SECOND;
/** Milliseconds without a byte. Above a mirror's own bound (10 s), so that it is the one to act. */
const STALL_TIMEOUT: number = 30 * SECOND;
/** Twice as many as blobs that are pulled at one time; an eighth of them is for manifests and tokens. */
const MAX_CONNECTIONS = 16;
/** Characters of an answer's Weir-Source header that are believed. */
const SOURCE = /^[a-z][a-z0-9-]{0,31}$/;

export interface SessionOptions {
  readonly image: ImageReference;
  /** Undefined: the registry itself is asked. */
  readonly mirror?: URL | undefined;
  readonly registries?: ReadonlyMap<RegistryHost, RegistryConfig> | undefined;
  /** Path of a PEM file of authorities trusted beside the usual ones. */
  readonly caFile?: string | undefined;
  /** Path of a docker config.json with credentials. */
  readonly dockerConfig?: string | undefined;
  /** For the proxies; none by default. */
  readonly environment?: Environment | undefined;
  readonly clock?: Clock | undefined;
  /** Told of what is no failure, such as a docker config that cannot be read. */
  readonly warn?: ((message: string) => void) | undefined;
}

/** A body that begins at byte `start` of its blob. */
export interface OpenBlob {
  readonly response: Response;
  readonly start: number;
  /** Who had it: the Weir-Source header, else `mirror` or `registry`. */
  readonly source: string;
}

export class RegistrySession implements AsyncDisposable {
  readonly #image: ImageReference;
  readonly #endpoint: Endpoint;
  readonly #pools: Pools;
  readonly #exchange: Exchange;
  readonly #clock: Clock;
  #requests = 0;

  /** @throws WeirError `config_invalid` for a CA file that cannot be used */
  constructor(options: SessionOptions) {
    this.#image = options.image;
    this.#clock = options.clock ?? systemClock;
    const registries = options.registries ?? new Map<RegistryHost, RegistryConfig>();
    this.#endpoint = endpointFor(options.image.repository.registry, options.mirror, registries);
    this.#pools = new Pools({
      connectTimeout: CONNECT_TIMEOUT,
      headerTimeout: HEADER_TIMEOUT,
      stallTimeout: STALL_TIMEOUT,
      maxConnections: MAX_CONNECTIONS,
      environment: options.environment ?? {},
      trust: new TrustStore(options.caFile, [this.#endpoint.tls]),
    });
    const { dockerConfig } = options;
    this.#exchange = new Exchange({
      pools: this.#pools,
      registries,
      dockerConfig:
        dockerConfig === undefined
          ? undefined
          : new DockerConfig(dockerConfig, this.#clock, options.warn ?? (() => undefined)),
      clock: this.#clock,
      observer: { request: () => (this.#requests += 1), bytes: () => undefined, retry: () => undefined },
      headers: { 'user-agent': 'weir-client', 'accept-encoding': 'identity' },
    });
  }

  get clock(): Clock {
    return this.#clock;
  }

  /** Requests answered or failed so far, those to token servers and storage included. */
  get requests(): number {
    return this.#requests;
  }

  get isMirror(): boolean {
    return this.#endpoint.isMirror;
  }

  /** Scheme, host and port of who is asked. */
  get origin(): string {
    return this.#endpoint.origin;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pools.close();
  }

  /**
   * The digest that the reference names now: HEAD, and GET where the answer names none, as containerd does.
   * @throws WeirError `manifest_unknown`, and those of requests that fail
   */
  async resolve(signal: AbortSignal | undefined): Promise<Digest> {
    const { reference } = this.#image;
    const path = `manifests/${formatManifestReference(reference)}`;
    const headers = { accept: `${ACCEPT_MANIFESTS}, */*` };
    const head = await this.#request('HEAD', path, headers, [200, 405], signal);
    head.discard();
    const named = tryParseDigest(head.header('docker-content-digest') ?? '');
    if (reference.kind === 'digest') {
      if (named !== undefined && named !== reference.digest) throw wrongDigest(this.origin, reference.digest);
      return reference.digest;
    }
    if (named !== undefined) return named;
    const response = await this.#request('GET', path, headers, [200], signal);
    return digestOf(await response.read(MAX_MANIFEST_BYTES));
  }

  /**
   * The manifest with this digest, verified.
   * @throws WeirError `digest_mismatch`, `manifest_unknown`, and those of requests that fail
   */
  async manifest(
    digest: Digest,
    mediaType: string | undefined,
    signal: AbortSignal | undefined,
  ): Promise<{ readonly bytes: Buffer; readonly mediaType: string; readonly source: string }> {
    const accept = mediaType === undefined ? `${ACCEPT_MANIFESTS}, */*` : `${mediaType}, */*`;
    const response = await this.#request('GET', `manifests/${digest}`, { accept }, [200], signal);
    refuseEncoding(response);
    const bytes = await response.read(MAX_MANIFEST_BYTES);
    if (digestOf(bytes, digestAlgorithm(digest)) !== digest) throw wrongDigest(this.origin, digest);
    const type = response.header('content-type') ?? mediaType ?? 'application/octet-stream';
    return { bytes, mediaType: type, source: this.#sourceOf(response) };
  }

  /**
   * The blob from `offset` on, or from an earlier byte where the answer is the whole one.
   * @throws WeirError `blob_unknown`, `upstream_protocol`, and those of requests that fail
   */
  async blob(blob: Descriptor, offset: number, signal: AbortSignal | undefined): Promise<OpenBlob> {
    const headers: Record<string, string> = { accept: `${blob.mediaType}, */*` };
    if (offset > 0) headers['range'] = `bytes=${offset}-`;
    const response = await this.#request('GET', `blobs/${blob.digest}`, headers, [200, 206], signal);
    refuseEncoding(response);
    const source = this.#sourceOf(response);
    if (response.status === 200) return { response, start: 0, source };
    const { start, total } = contentRange(response);
    if (start !== offset || total !== blob.size)
      throw protocolError(response, 'another range than the one asked for');
    return { response, start, source };
  }

  async #request(
    method: 'GET' | 'HEAD',
    path: string,
    headers: Record<string, string>,
    expected: readonly number[],
    signal: AbortSignal | undefined,
  ): Promise<Response> {
    const { name } = this.#image.repository;
    const isBlob = path.startsWith('blobs/');
    const followed = await this.#exchange.run({
      endpoint: this.#endpoint,
      kind: isBlob ? 'blob' : 'manifest',
      lane: isBlob ? 'blob' : 'control',
      method,
      target: requestTarget(this.#endpoint, name, path),
      name,
      headers,
      credential: undefined,
      signal,
    });
    try {
      return expectStatus(followed, expected, isBlob ? 'blob_unknown' : 'manifest_unknown', this.#clock);
    } catch (error) {
      if (!isWeirError(error)) throw error;
      const problem = `${error.message} for ${path} of ${repositoryKey(this.#image.repository)}`;
      throw new WeirError(error.code, problem, { detail: error.detail, cause: error.cause });
    }
  }

  #sourceOf(response: Response): string {
    const header = response.header('weir-source') ?? '';
    if (SOURCE.test(header)) return header;
    return this.#endpoint.isMirror ? 'mirror' : 'registry';
  }
}

/** A runtime sends the registry's credentials to a mirror on localhost that asks for them; so does this. */
function endpointFor(
  registry: RegistryHost,
  mirror: URL | undefined,
  registries: ReadonlyMap<RegistryHost, RegistryConfig>,
): Endpoint {
  const own = endpointsOf(registry, registries).at(-1);
  if (own === undefined) throw new WeirError('internal', `no endpoint for ${registry}`);
  if (mirror === undefined) return own;
  const path = `${mirror.pathname.replace(/\/+$/, '')}/v2`;
  return { origin: mirror.origin, path, registry, credentialsOf: registry, isMirror: true, tls: own.tls };
}

export function wrongDigest(origin: string, digest: Digest): WeirError {
  return new WeirError('digest_mismatch', `${origin} sent other bytes than ${digest}`, {
    detail: { origin, digest },
  });
}
