/**
 * Asks a registry as a runtime does before its first pull: `GET /v2/`, and with the configured credential if the answer
 * is 401. For `weir doctor`: it tells what holds between this machine and the registry, and fetches no content.
 */
import { SECOND, type Clock } from '../util/clock.ts';
import { isWeirError, toWeirError, type WeirError } from '../util/errors.ts';
import type { RegistryHost, RepositoryName } from '../oci/repository.ts';
import { withCertificates } from './certs-folders.ts';
import { parseChallenges, type Challenge } from './challenge.ts';
import { formatAuthorization, type StoredCredential } from './credential.ts';
import { DockerConfig } from './docker-config.ts';
import { endpointsOf, type Endpoint } from './endpoint.ts';
import { Pools, shareConnections } from './pools.ts';
import type { Environment } from './proxy.ts';
import { Reaches } from './reach.ts';
import { follow, type Hop } from './redirect.ts';
import type { RegistryCertificates, RegistryConfig } from './registry-config.ts';
import type { Response } from './response.ts';
import { TokenSource } from './token.ts';
import { PoolTransport } from './transport.ts';
import { readTrusted, TrustStore } from './trust.ts';

/** One request at a time, and one to the token server. */
const CONNECTIONS = 2;

/** `unasked`: a credential is configured, and the registry answers without one. */
export type AccountState = 'none' | 'unasked' | 'accepted' | 'refused';

export interface EndpointProbe {
  readonly origin: string;
  readonly isMirror: boolean;
  /** Of `GET /v2/` without a credential. */
  readonly status?: number | undefined;
  /** Milliseconds by which this machine's clock is ahead of the registry's; undefined without a Date. */
  readonly clockAhead?: number | undefined;
  readonly account: AccountState;
  /** The request failed, or the one with the credential did. */
  readonly error?: WeirError | undefined;
}

export interface RegistryProbeOptions {
  readonly registries: ReadonlyMap<RegistryHost, RegistryConfig>;
  readonly certificates: ReadonlyMap<RegistryHost, RegistryCertificates>;
  /** Path; empty: none. */
  readonly caFile: string;
  /** Path; empty: none. */
  readonly dockerConfig: string;
  readonly allowPrivate: boolean;
  /** Milliseconds. */
  readonly connectTimeout: number;
  readonly headerTimeout: number;
  readonly userAgent: string;
  readonly environment: Environment;
  readonly clock: Clock;
}

/** What each endpoint of a registry answers, its mirrors first. @throws WeirError `config_invalid`, `name_invalid` */
export async function probeRegistry(
  registry: RegistryHost,
  options: RegistryProbeOptions,
  signal: AbortSignal,
): Promise<readonly EndpointProbe[]> {
  const registries = withCertificates(options.registries, options.certificates);
  const endpoints = endpointsOf(registry, registries);
  const { connectTimeout, headerTimeout, environment, caFile, dockerConfig, clock } = options;
  const trusted = readTrusted(
    caFile,
    endpoints.map(({ tls }) => tls),
  );
  const pools = new Pools({
    connectTimeout,
    headerTimeout,
    stallTimeout: headerTimeout,
    connections: shareConnections(CONNECTIONS),
    environment,
    trust: new TrustStore(trusted),
  });
  try {
    const docker = dockerConfig === '' ? undefined : new DockerConfig(dockerConfig, clock, () => undefined);
    const credentialOf = async (endpoint: Endpoint): Promise<StoredCredential | undefined> => {
      const host = endpoint.credentialsOf;
      if (host === undefined) return undefined;
      return registries.get(host)?.credential ?? docker?.credential({ registry: host, name: ANY });
    };
    const probe = new Probe(options, new PoolTransport(pools, 'control'), signal);
    return await Promise.all(
      endpoints.map(async (endpoint) => probe.run(endpoint, await credentialOf(endpoint))),
    );
  } finally {
    await pools.close();
  }
}

/** A repository that no entry of docker's config is for: what holds for the registry counts. */
const ANY = '' as RepositoryName;

class Probe {
  readonly #options: RegistryProbeOptions;
  readonly #transport: PoolTransport;
  readonly #reaches: Reaches;
  readonly #tokens: TokenSource;
  readonly #signal: AbortSignal;

  constructor(options: RegistryProbeOptions, transport: PoolTransport, signal: AbortSignal) {
    this.#options = options;
    this.#transport = transport;
    this.#reaches = new Reaches(options.registries, options.allowPrivate);
    this.#tokens = new TokenSource(options.clock);
    this.#signal = signal;
  }

  async run(endpoint: Endpoint, credential: StoredCredential | undefined): Promise<EndpointProbe> {
    const { origin, isMirror } = endpoint;
    const account = credential === undefined ? 'none' : 'unasked';
    try {
      const response = await this.#ping(endpoint);
      const answered = { origin, isMirror, status: response.status, clockAhead: this.#clockAhead(response) };
      if (response.status !== 401 || credential === undefined) return { ...answered, account };
      return { ...answered, ...(await this.#withCredential(endpoint, credential, response)) };
    } catch (error) {
      return { origin, isMirror, account, error: toWeirError(error) };
    }
  }

  async #withCredential(
    endpoint: Endpoint,
    credential: StoredCredential,
    refusal: Response,
  ): Promise<Pick<EndpointProbe, 'account' | 'error'>> {
    try {
      const challenges = parseChallenges(refusal.header('www-authenticate') ?? '');
      const authorization = await this.#authorization(endpoint, credential, challenges);
      const { status } = await this.#ping(endpoint, authorization);
      return { account: status === 401 || status === 403 ? 'refused' : 'accepted' };
    } catch (error) {
      if (isWeirError(error, 'upstream_unauthorized')) return { account: 'refused' };
      return { account: 'unasked', error: toWeirError(error) };
    }
  }

  /** As `docker login` does: a token without a scope is for nothing but to prove who asks. */
  async #authorization(
    endpoint: Endpoint,
    credential: StoredCredential,
    challenges: readonly Challenge[],
  ): Promise<string> {
    const bearer = challenges.find(({ scheme }) => scheme === 'bearer')?.parameters;
    const realm = bearer?.get('realm');
    if (credential.kind === 'bearer' || realm === undefined)
      return credential.kind === 'identity' ? '' : formatAuthorization(credential);
    const request = { realm, service: bearer?.get('service'), scope: '' };
    const { token } = await this.#tokens.get(request, credential, {
      send: async (hop) => (await follow(hop, (next) => this.#hop(next, endpoint), endpoint)).response,
      from: new URL(endpoint.origin),
      caller: 'configured',
      signal: this.#signal,
    });
    return `Bearer ${token}`;
  }

  async #ping(endpoint: Endpoint, authorization = ''): Promise<Response> {
    const url = new URL(`${endpoint.origin}${endpoint.path}/`);
    const headers: Record<string, string> = authorization === '' ? {} : { authorization };
    const hop: Hop = { url, method: 'GET', headers, signal: this.#signal };
    const { response } = await follow(hop, (next) => this.#hop(next, endpoint), endpoint);
    response.discard();
    return response;
  }

  #hop(hop: Hop, endpoint: Endpoint): Promise<Response> {
    const { origin, pathname, search } = hop.url;
    // A client certificate is a credential: it is for the endpoint itself.
    const tls = origin === endpoint.origin ? endpoint.tls : { ...endpoint.tls, client: undefined };
    return this.#transport.send({
      origin,
      tls,
      reach: this.#reaches.of({ url: hop.url, from: hop.from, endpoint, caller: 'configured' }),
      method: hop.method,
      path: pathname + search,
      headers: { ...hop.headers, 'user-agent': this.#options.userAgent, 'accept-encoding': 'identity' },
      body: hop.body,
      signal: hop.signal,
    });
  }

  /** A Date has whole seconds, cut off: half of one is the middle of what it may mean. */
  #clockAhead(response: Response): number | undefined {
    const date = Date.parse(response.header('date') ?? '');
    return Number.isNaN(date) ? undefined : this.#options.clock.now() - (date + SECOND / 2);
  }
}
