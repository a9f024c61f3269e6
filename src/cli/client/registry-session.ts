/**
 * The requests of one pull, made as containerd makes them: to a mirror (with `?ns=`) or to the registry itself.
 * The upstream client handles credentials, token servers, redirects, TLS and proxies.
 */
import { SECOND, systemClock, type Clock } from '../../util/clock.ts';
import { isWeirError, toWeirError, WeirError } from '../../util/errors.ts';
import { digestAlgorithm, digestOf, tryParseDigest, type Digest } from '../../oci/digest.ts';
import { ACCEPT_MANIFESTS, MAX_MANIFEST_BYTES, type Descriptor } from '../../oci/manifest.ts';
import { formatManifestReference, type ImageReference } from '../../oci/reference.ts';
import { repositoryKey, type RegistryHost, type Repository } from '../../oci/repository.ts';
import { mirrorMessage } from './mirror-message.ts';
import { contentRange, expectStatus, protocolError } from '../../upstream/registry-answer.ts';
import type { StoredCredential } from '../../upstream/credential.ts';
import { DockerConfig } from '../../upstream/docker-config.ts';
import { endpointsOf, requestTarget, type Endpoint } from '../../upstream/endpoint.ts';
import { RegistryCall } from '../../upstream/registry-call.ts';
import { Pools, shareConnections } from '../../upstream/pools.ts';
import { Reaches } from '../../upstream/reach.ts';
import type { Environment } from '../../upstream/proxy.ts';
import type { RegistryConfig } from '../../upstream/registry-config.ts';
import type { Response } from '../../upstream/response.ts';
import { PoolTransport, type Transport } from '../../upstream/transport.ts';
import { readTrusted, TrustStore } from '../../upstream/trust.ts';

/** Its name in the User-Agent. */
export const CLIENT_NAME = 'weir-client';

/** Milliseconds to connect. */
const CONNECT_TIMEOUT = 5 * SECOND;
/** Milliseconds until an answer begins; a mirror may wait for a slow registry itself. */
const HEADER_TIMEOUT = 60 * SECOND;
/** Milliseconds without a byte. It is above a mirror's own bound (10 s), so that the mirror acts first. */
const STALL_TIMEOUT = 30 * SECOND;
/** Twice as many as blobs that are pulled at one time; an eighth of the connections is for manifests and tokens. */
const MAX_CONNECTIONS = 16;
/** A well-formed Weir-Source header. */
const SOURCE = /^[a-z][a-z0-9-]{0,31}$/;

export interface SessionOptions {
  readonly image: ImageReference;
  /** Undefined: requests go to the registry itself. */
  readonly mirror?: URL | undefined;
  /** Gets each request that the mirror does not answer well, as in containerd; undefined: such a request fails. */
  readonly fallback?: URL | undefined;
  /** Called for each of these requests with the mirror's error. */
  readonly onFallback?: ((error: WeirError) => void) | undefined;
  readonly registries?: ReadonlyMap<RegistryHost, RegistryConfig> | undefined;
  /** Path of a PEM file of authorities to trust besides the usual ones. */
  readonly caFile?: string | undefined;
  /** Paths of files with credentials, in the form of docker's config.json: the first that has one for the image counts. */
  readonly authFiles?: readonly string[] | undefined;
  /** For the proxies; none by default. */
  readonly environment?: Environment | undefined;
  readonly clock?: Clock | undefined;
  /** Called for a problem that is no failure, such as a docker config that cannot be read. */
  readonly warn?: ((message: string) => void) | undefined;
}

/** The body of an answer that begins at byte `start` of its blob. */
export interface OpenBlob {
  readonly response: Response;
  readonly start: number;
  /** The source: the Weir-Source header, else `mirror` or `registry`. */
  readonly source: string;
}

interface Request {
  readonly method: 'GET' | 'HEAD';
  /** The path below the repository's name. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Other statuses are errors. */
  readonly expected: readonly number[];
  readonly signal: AbortSignal | undefined;
}

interface Answer {
  readonly response: Response;
  /** The endpoint that answered. */
  readonly endpoint: Endpoint;
}

export class RegistrySession implements AsyncDisposable {
  readonly #image: ImageReference;
  readonly #endpoint: Endpoint;
  readonly #fallback: Endpoint | undefined;
  readonly #onFallback: (error: WeirError) => void;
  readonly #pools: Pools;
  readonly #control: PoolTransport;
  readonly #blobs: Transport<Response>;
  readonly #call: RegistryCall;
  readonly #clock: Clock;
  #requests = 0;

  /** @throws WeirError `config_invalid` for a CA file that cannot be used */
  constructor(options: SessionOptions) {
    this.#image = options.image;
    this.#clock = options.clock ?? systemClock;
    const registries = options.registries ?? new Map<RegistryHost, RegistryConfig>();
    const { mirror, fallback } = options;
    const { registry } = options.image.repository;
    const own = endpointsOf(registry, registries).at(-1);
    if (own === undefined) throw new WeirError('internal', `no endpoint for ${registry}`);
    this.#endpoint = mirror === undefined ? own : endpointAt(mirror, own, true);
    if (mirror !== undefined && fallback !== undefined) this.#fallback = endpointAt(fallback, own, false);
    this.#onFallback = options.onFallback ?? ((): void => undefined);
    this.#pools = new Pools({
      connectTimeout: CONNECT_TIMEOUT,
      headerTimeout: HEADER_TIMEOUT,
      stallTimeout: STALL_TIMEOUT,
      connections: shareConnections(MAX_CONNECTIONS),
      environment: options.environment ?? {},
      trust: new TrustStore(readTrusted(options.caFile, [this.#endpoint.tls])),
    });
    this.#control = new PoolTransport(this.#pools, 'control');
    this.#blobs = new PoolTransport(this.#pools, 'blob');
    const warn = options.warn ?? ((): void => undefined);
    const authFiles = (options.authFiles ?? []).map((path) => new DockerConfig(path, this.#clock, warn));
    this.#call = new RegistryCall({
      warn: () => undefined,
      control: this.#control,
      reaches: new Reaches(registries, true),
      registries,
      dockerConfig: { credential: (repository) => firstCredential(authFiles, repository) },
      clock: this.#clock,
      observer: { request: () => (this.#requests += 1), bytes: () => undefined, retry: () => undefined },
      headers: { 'user-agent': CLIENT_NAME, 'accept-encoding': 'identity' },
    });
  }

  get clock(): Clock {
    return this.#clock;
  }

  /** Number of requests that were answered or failed, those to token servers and storage included. */
  get requests(): number {
    return this.#requests;
  }

  /** Whether all requests go to a mirror. */
  get isMirrorAlone(): boolean {
    return this.#endpoint.isMirror && this.#fallback === undefined;
  }

  /** Scheme, host and port of the mirror or the registry. */
  get origin(): string {
    return this.#endpoint.origin;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pools.close();
  }

  /**
   * The digest that the reference names now, by HEAD. If the answer has none, it is asked for by GET, as containerd does.
   * @throws WeirError `manifest_unknown`, and the error of a request that fails
   */
  async resolve(signal: AbortSignal | undefined): Promise<Digest> {
    const { reference } = this.#image;
    const path = `manifests/${formatManifestReference(reference)}`;
    const headers = { accept: `${ACCEPT_MANIFESTS}, */*` };
    const asked = await this.#request({ method: 'HEAD', path, headers, expected: [200, 405], signal }).catch(
      async (error: unknown) => {
        // An answer to HEAD has no body that would say why.
        if (this.isMirrorAlone && toWeirError(error).detail['status'] !== undefined) {
          const again = await this.#request({ method: 'GET', path, headers, expected: [200], signal });
          again.response.discard();
        }
        throw error;
      },
    );
    const head = asked.response;
    head.discard();
    const named = tryParseDigest(head.header('docker-content-digest') ?? '');
    if (reference.kind === 'digest') {
      if (named !== undefined && named !== reference.digest) throw wrongDigest(this.origin, reference.digest);
      return reference.digest;
    }
    if (named !== undefined) return named;
    const { response } = await this.#request({ method: 'GET', path, headers, expected: [200], signal });
    return digestOf(await response.read(MAX_MANIFEST_BYTES));
  }

  /**
   * The manifest with this digest, verified.
   * @throws WeirError `digest_mismatch`, `manifest_unknown`, and the error of a request that fails
   */
  async manifest(
    digest: Digest,
    mediaType: string | undefined,
    signal: AbortSignal | undefined,
  ): Promise<{ readonly bytes: Buffer; readonly mediaType: string; readonly source: string }> {
    const accept = mediaType === undefined ? `${ACCEPT_MANIFESTS}, */*` : `${mediaType}, */*`;
    const answer = await this.#request({
      method: 'GET',
      path: `manifests/${digest}`,
      headers: { accept },
      expected: [200],
      signal,
    });
    const { response, endpoint } = answer;
    const bytes = await response.read(MAX_MANIFEST_BYTES);
    if (digestOf(bytes, digestAlgorithm(digest)) !== digest) throw wrongDigest(endpoint.origin, digest);
    const type = response.header('content-type') ?? mediaType ?? 'application/octet-stream';
    return { bytes, mediaType: type, source: sourceOf(answer) };
  }

  /**
   * The blob from `offset` on. If the answer is the whole blob, it begins at byte 0.
   * @throws WeirError `blob_unknown`, `upstream_protocol`, and the error of a request that fails
   */
  async blob(blob: Descriptor, offset: number, signal: AbortSignal | undefined): Promise<OpenBlob> {
    const headers: Record<string, string> = { accept: `${blob.mediaType}, */*` };
    if (offset > 0) headers['range'] = `bytes=${offset}-`;
    const path = `blobs/${blob.digest}`;
    const answer = await this.#request({ method: 'GET', path, headers, expected: [200, 206], signal });
    const { response } = answer;
    const source = sourceOf(answer);
    if (response.status === 200) return { response, start: 0, source };
    const range = contentRange(response);
    if (range?.start !== offset || range.total !== blob.size)
      throw protocolError(response, 'another range than the requested one');
    return { response, start: offset, source };
  }

  async #request(request: Request): Promise<Answer> {
    try {
      return { response: await this.#ask(this.#endpoint, request), endpoint: this.#endpoint };
    } catch (error) {
      if (this.#fallback === undefined || request.signal?.aborted) throw error;
      this.#onFallback(toWeirError(error));
      return { response: await this.#ask(this.#fallback, request), endpoint: this.#fallback };
    }
  }

  async #ask(endpoint: Endpoint, { method, path, headers, expected, signal }: Request): Promise<Response> {
    const { name } = this.#image.repository;
    const isBlob = path.startsWith('blobs/');
    const asked = {
      endpoint,
      kind: isBlob ? 'blob' : 'manifest',
      method,
      target: requestTarget(endpoint, name, path),
      name,
      headers,
      caller: 'configured',
      signal,
    } as const;
    const followed = await this.#call.run(asked, isBlob ? this.#blobs : this.#control);
    const isRefused = endpoint.isMirror && !expected.includes(followed.response.status);
    const said = isRefused ? await mirrorMessage(followed.response) : undefined;
    try {
      return expectStatus(followed, expected, isBlob ? 'blob_unknown' : 'manifest_unknown', this.#clock);
    } catch (error) {
      if (!isWeirError(error)) throw error;
      const told = said === undefined ? '' : `: ${said}`;
      const problem = `${error.message} for ${path} of ${repositoryKey(this.#image.repository)}${told}`;
      throw new WeirError(error.code, problem, { detail: error.detail, cause: error.cause });
    }
  }
}

async function firstCredential(
  files: readonly DockerConfig[],
  repository: Repository,
): Promise<StoredCredential | undefined> {
  for (const file of files) {
    const credential = await file.credential(repository);
    if (credential !== undefined) return credential;
  }
  return undefined;
}

function sourceOf({ response, endpoint }: Answer): string {
  const header = response.header('weir-source') ?? '';
  if (SOURCE.test(header)) return header;
  return endpoint.isMirror ? 'mirror' : 'registry';
}

/** This client sends the registry's credentials to a mirror on localhost that asks for them, as runtimes do. */
function endpointAt(url: URL, own: Endpoint, isMirror: boolean): Endpoint {
  return { ...own, origin: url.origin, path: `${url.pathname.replace(/\/+$/, '')}/v2`, isMirror };
}

export function wrongDigest(origin: string, digest: Digest): WeirError {
  return new WeirError('digest_mismatch', `${origin} sent other bytes than ${digest}`, {
    detail: { origin, digest },
  });
}
