/**
 * One call to one endpoint: the request, its challenge, and its redirects.
 *
 * Which credential is used: the one that the caller presented (only for the registry itself), else the configured
 * one, else docker config's, else none. For a caller of another node without a credential: none. After a refusal no
 * other credential is tried, as it could give a caller more than it may have.
 *
 * How it is sent: a Bearer token goes as it is. If the challenge is Bearer, a Basic credential, a refresh token, or
 * none is exchanged for a token. If the challenge is Basic, a Basic credential goes as it is.
 *
 * The challenge of a repository is remembered, so that further requests carry their token at once.
 */
import { LRUCache } from 'lru-cache';
import { HOUR, type Clock } from '../util/clock.ts';
import { isWeirError, toWeirError, WeirError } from '../util/errors.ts';
import type { RegistryHost, RepositoryName } from '../oci/repository.ts';
import { checkHost } from './address-guard.ts';
import { isOfThisNode, type Caller } from './caller.ts';
import { formatAuthorization, type StoredCredential } from './credential.ts';
import type { DockerConfig } from './docker-config.ts';
import type { Endpoint, TlsProfile } from './endpoint.ts';
import type { Reaches } from './reach.ts';
import { learn, NOTHING_LEARNED, type Learned } from './learned.ts';
import { follow, type Followed, type Hop } from './redirect.ts';
import type { RegistryConfig, RequestKind, UpstreamObserver } from './registry-config.ts';
import type { Response, ResponseHead } from './response.ts';
import { TokenSource, type IssuedToken, type TokenRequest } from './token.ts';
import type { PoolTransport, Transport } from './transport.ts';

/** Repositories whose challenges are remembered. */
const MAX_CHALLENGES = 2000;
/** Milliseconds between two warnings of one registry's certificates. */
const WARN_AGAIN = 1 * HOUR;
/** Statuses with which registries were seen to answer a token that they have dropped. */
const MAY_MEAN_DROPPED: ReadonlySet<number> = new Set([400, 403, 404]);
/** The most that one call needs: without a token, with one that the registry has dropped, with a new one. */
const MAX_SENDS = 4;
/** The purpose and the caller of a request. */
interface Asked {
  readonly endpoint: Endpoint;
  readonly kind: RequestKind;
  readonly caller: Caller;
  /** Milliseconds; default: that of the pool. */
  readonly headerTimeout?: number | undefined;
  /** Whether a body that is gzipped by its header is unpacked. */
  readonly unpack?: boolean;
}

export interface RegistryCallRequest extends Asked {
  readonly kind: Exclude<RequestKind, 'token'>;
  readonly method: 'GET' | 'HEAD';
  /** Path and query. */
  readonly target: string;
  readonly name: RepositoryName;
  readonly headers: Readonly<Record<string, string>>;
  readonly signal: AbortSignal | undefined;
}

export interface RegistryCallOptions {
  /** Sends requests for tokens. */
  readonly control: PoolTransport;
  readonly reaches: Reaches;
  readonly registries: ReadonlyMap<RegistryHost, RegistryConfig>;
  readonly dockerConfig: Pick<DockerConfig, 'credential'> | undefined;
  readonly clock: Clock;
  readonly observer: UpstreamObserver | undefined;
  readonly warn: (message: string) => void;
  /** Sent with every request. */
  readonly headers: Readonly<Record<string, string>>;
}

/** An Authorization header and its source. */
interface Authorization {
  readonly header: string;
  readonly token?: string;
  readonly request?: TokenRequest;
  /** Whether no newer one can be had. */
  readonly isFinal: boolean;
  /** See {@link IssuedToken}; undefined if it holds none. */
  readonly isYoung?: boolean;
}

export class RegistryCall {
  readonly #options: RegistryCallOptions;
  readonly #tokens: TokenSource;
  /** Registries whose certificates were warned of. */
  readonly #warned = new LRUCache<RegistryHost, true>({ max: MAX_CHALLENGES, ttl: WARN_AGAIN });
  readonly #learned = new LRUCache<string, Learned>({ max: MAX_CHALLENGES });

  constructor(options: RegistryCallOptions) {
    this.#options = options;
    this.#tokens = new TokenSource(options.clock);
  }

  /**
   * The registry's answer of any status except 401. Only what it answers to a token that was fetched for this call counts.
   * @param transport sends the request, and each of its redirects
   * @throws WeirError `upstream_unauthorized` with the challenge to relay in `detail.challenge`, and the errors of
   *   failed requests and redirects
   */
  async run<Head extends ResponseHead>(
    request: RegistryCallRequest,
    transport: Transport<Head>,
  ): Promise<Followed<Head>> {
    const { endpoint } = request;
    const credential = await this.#credential(request);
    const key = learnedKey(request);
    let learned = this.#learned.get(key);
    let authorization = await this.#authorize(request, credential, learned);
    for (let sends = 1; ; sends++) {
      const followed = await this.#send(request, authorization, transport);
      const { response, isElsewhere } = followed;
      if (isElsewhere) return followed;
      if (response.status !== 401) {
        const kept = authorization?.isYoung === false ? authorization.token : undefined;
        if (kept === undefined || sends === MAX_SENDS || !MAY_MEAN_DROPPED.has(response.status))
          return followed;
        response.discard();
        authorization = await this.#authorize(request, credential, learned, kept);
        continue;
      }
      response.discard();
      const isSilent = learned === undefined && response.header('www-authenticate') === undefined;
      learned = isSilent ? await this.#ping(request) : learn(response, request.name, learned);
      if (isSilent || learned.bearer !== undefined || learned.isBasic) this.#learned.set(key, learned);
      if (sends === MAX_SENDS || !canTryAgain(authorization, learned))
        throw unauthorized(endpoint, learned.raw);
      authorization = await this.#authorize(request, credential, learned, authorization?.token);
      if (authorization === undefined) throw unauthorized(endpoint, learned.raw);
    }
  }

  /** Some registries name their challenge at `/v2/` alone, where clients look first. */
  async #ping({ endpoint, caller, name, signal }: RegistryCallRequest): Promise<Learned> {
    const url = new URL(`${endpoint.origin}${endpoint.path}/`);
    const asked = { endpoint, caller, kind: 'other' } as const;
    const { control } = this.#options;
    const sendHop = (hop: Hop): Promise<Response> => this.#hop(hop, asked, control);
    const { response, isElsewhere } = await follow(
      { url, method: 'GET', headers: {}, signal },
      sendHop,
      endpoint,
    );
    response.discard();
    const isChallenge = response.status === 401 && !isElsewhere;
    return isChallenge ? learn(response, name, undefined) : NOTHING_LEARNED;
  }

  /** @throws WeirError `address_refused` if the endpoint is at an address that this caller may not reach */
  checkReach(endpoint: Endpoint, caller: Caller): void {
    const url = new URL(endpoint.origin);
    const reach = this.#options.reaches.of({ url, from: undefined, endpoint, caller });
    checkHost(endpoint.origin, reach);
  }

  async #credential(request: RegistryCallRequest): Promise<StoredCredential | undefined> {
    const { endpoint, caller, name } = request;
    if (typeof caller !== 'string' && !endpoint.isMirror) return caller.for(endpoint.registry);
    const host = endpoint.credentialsOf;
    if (host === undefined || !isOfThisNode(caller)) return undefined;
    const { registries, dockerConfig } = this.#options;
    return registries.get(host)?.credential ?? dockerConfig?.credential({ registry: host, name });
  }

  async #authorize(
    request: RegistryCallRequest,
    credential: StoredCredential | undefined,
    learned: Learned | undefined,
    rejected?: string,
  ): Promise<Authorization | undefined> {
    if (credential?.kind === 'bearer') return { header: formatAuthorization(credential), isFinal: true };
    if (learned?.bearer !== undefined) {
      const { token, isFresh, isYoung } = await this.#token(
        request,
        learned.bearer,
        credential,
        learned.raw,
        rejected,
      );
      return { header: `Bearer ${token}`, token, request: learned.bearer, isFinal: isFresh, isYoung };
    }
    if (!learned?.isBasic || credential?.kind !== 'basic') return undefined;
    return { header: formatAuthorization(credential), isFinal: true };
  }

  async #token(
    request: RegistryCallRequest,
    bearer: TokenRequest,
    credential: StoredCredential | undefined,
    challenge: string | undefined,
    rejected: string | undefined,
  ): Promise<IssuedToken> {
    const { endpoint, caller, signal } = request;
    const asked = { endpoint, caller, kind: 'token' } as const;
    const { control } = this.#options;
    const context = {
      send: async (hop: Hop): Promise<Response> =>
        (await follow(hop, (next) => this.#hop(next, asked, control), endpoint)).response,
      from: new URL(endpoint.origin),
      caller,
      signal,
    };
    try {
      return await this.#tokens.get(bearer, credential, context, rejected);
    } catch (error) {
      // The repository may allow anonymous requests, or name another token server by now.
      this.#learned.delete(learnedKey(request));
      if (!isWeirError(error, 'upstream_unauthorized')) throw error;
      throw unauthorized(endpoint, challenge, error);
    }
  }

  #send<Head extends ResponseHead>(
    request: RegistryCallRequest,
    authorization: Authorization | undefined,
    transport: Transport<Head>,
  ): Promise<Followed<Head>> {
    const { endpoint, method, signal } = request;
    const headers = {
      ...request.headers,
      ...(authorization !== undefined && { authorization: authorization.header }),
    };
    const url = new URL(`${endpoint.origin}${request.target}`);
    return follow({ url, method, headers, signal }, (hop) => this.#hop(hop, request, transport), endpoint);
  }

  /** The pulls succeed without Weir, so nobody would notice. */
  #warnOnce(registry: RegistryHost, message: string): void {
    if (this.#warned.has(registry)) return;
    this.#warned.set(registry, true);
    this.#options.warn(`the pulls of ${registry} go past Weir: ${message}`);
  }

  async #hop<Head extends ResponseHead>(hop: Hop, asked: Asked, transport: Transport<Head>): Promise<Head> {
    const { clock, observer, reaches } = this.#options;
    const { endpoint, caller, kind } = asked;
    const { origin, pathname, search } = hop.url;
    const start = clock.monotonic();
    const seconds = (): number => (clock.monotonic() - start) / 1000;
    try {
      const reach = reaches.of({ url: hop.url, from: hop.from, endpoint, caller });
      const response = await transport.send({
        origin,
        tls: tlsFor(hop, asked),
        reach,
        method: hop.method,
        path: pathname + search,
        headers: { ...this.#options.headers, ...hop.headers },
        body: hop.body,
        headerTimeout: asked.headerTimeout,
        unpack: asked.unpack,
        isLenient: this.#options.control.isLenient(origin),
        signal: hop.signal,
      });
      observer?.request(endpoint.registry, kind, response.status, seconds());
      return response;
    } catch (error) {
      const failure = toWeirError(error);
      observer?.request(endpoint.registry, kind, failure.code, seconds());
      if (failure.code === 'upstream_tls') this.#warnOnce(endpoint.registry, failure.message);
      throw error;
    }
  }
}

/** A client certificate is a credential: it is for the endpoint itself, and for callers of this node. */
function tlsFor({ url }: Hop, { endpoint, caller }: Asked): TlsProfile {
  if (url.origin === endpoint.origin && isOfThisNode(caller)) return endpoint.tls;
  return { ...endpoint.tls, client: undefined };
}

function learnedKey({ endpoint, name }: RegistryCallRequest): string {
  return `${endpoint.origin}${endpoint.path}/${name}`;
}

/** Whether another Authorization may help after `used` was refused with `learned`. */
function canTryAgain(used: Authorization | undefined, learned: Learned): boolean {
  if (used === undefined) return true;
  if (used.request === undefined) return false; // a Basic or Bearer credential, sent as it was
  const { realm, service, scope } = used.request;
  const asked = learned.bearer;
  if (asked?.realm !== realm || asked.service !== service || asked.scope !== scope)
    return asked !== undefined;
  // A new token for the same credential would not allow more.
  return !used.isFinal && learned.error !== 'insufficient_scope';
}

function unauthorized(endpoint: Endpoint, challenge: string | undefined, cause?: unknown): WeirError {
  return new WeirError('upstream_unauthorized', `${endpoint.origin} wants other credentials`, {
    cause,
    detail: { origin: endpoint.origin, ...(challenge !== undefined && { challenge }) },
  });
}
