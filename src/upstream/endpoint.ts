/** The endpoints of a registry: its mirrors first, then the registry itself. */
import { isLoopbackHost } from '../util/ip-address.ts';
import { WeirError } from '../util/errors.ts';
import {
  DOCKER_HUB,
  tryParseRegistryHost,
  type RegistryHost,
  type RepositoryName,
} from '../oci/repository.ts';
import type { ClientCertificate, RegistryConfig } from './registry-config.ts';

/** The host that serves Docker Hub's registry API. */
const DOCKER_HUB_ENDPOINT = 'https://registry-1.docker.io';

export interface Endpoint {
  /** Scheme, host and port. */
  readonly origin: string;
  /** The path before `/<name>/…`: `/v2`, or the path of a mirror, which ends in it. */
  readonly path: string;
  /** The registry that is asked for. */
  readonly registry: RegistryHost;
  /**
   * The host whose configured credentials may be used here: the registry's, or the mirror's own (none if its name
   * cannot be a registry's). Credentials of a registry must not reach its mirrors.
   */
  readonly credentialsOf: RegistryHost | undefined;
  readonly isMirror: boolean;
  /** Whether its answers may lead to a server without TLS. */
  readonly isPlainAllowed: boolean;
  readonly tls: TlsProfile;
}

export interface TlsProfile {
  readonly caFiles: readonly string[];
  readonly client: ClientCertificate | undefined;
  readonly skipVerify: boolean;
}

type Registries = ReadonlyMap<RegistryHost, RegistryConfig>;

/**
 * All endpoints of `registry` in the order in which they are asked; the registry itself is the last.
 * @throws WeirError `name_invalid`
 */
export function endpointsOf(registry: RegistryHost, registries: Registries): readonly Endpoint[] {
  const config = registries.get(registry) ?? {};
  const mirrors = (config.mirrors ?? []).map((url) => mirrorEndpoint(url, registry, registries));
  return [...mirrors, ownEndpoint(registry, config)];
}

/**
 * The path and query of `<name>/<rest>` at an endpoint. A mirror is told the registry in `ns`, as containerd does.
 */
export function requestTarget(
  endpoint: Endpoint,
  name: RepositoryName,
  rest: string,
  query?: URLSearchParams,
): string {
  const parameters = new URLSearchParams(query);
  parameters.delete('ns');
  if (endpoint.isMirror) parameters.set('ns', endpoint.registry);
  const search = parameters.size === 0 ? '' : `?${parameters.toString()}`;
  return `${endpoint.path}/${name}/${rest}${search}`;
}

/** Whether `hostname` (as in a URL) is this machine; then the default is plain HTTP, and no proxy is used. */
export function isThisMachine(hostname: string): boolean {
  return isLoopbackHost(hostname.replace(/^\[(.+)\]$/, '$1'));
}

function ownEndpoint(registry: RegistryHost, config: RegistryConfig): Endpoint {
  const base = config.endpoint ?? defaultUrl(registry, config);
  return {
    origin: base.origin,
    path: apiPath(base),
    registry,
    credentialsOf: registry,
    isMirror: false,
    isPlainAllowed: config.plainRedirects ?? false,
    tls: tlsProfile(config),
  };
}

function mirrorEndpoint(url: URL, registry: RegistryHost, registries: Registries): Endpoint {
  const credentialsOf = tryParseRegistryHost(url.host);
  const own = credentialsOf && registries.get(credentialsOf);
  return {
    origin: url.origin,
    path: apiPath(url),
    registry,
    credentialsOf,
    isMirror: true,
    isPlainAllowed: (own ?? registries.get(registry))?.plainRedirects ?? false,
    // A CA in the entry with the mirrors is meant for them, but not what authenticates a caller at the registry. An entry of
    // the mirror's own goes first.
    tls: tlsProfile(own ?? { ...registries.get(registry), clientCertificate: undefined }),
  };
}

function defaultUrl(registry: RegistryHost, config: RegistryConfig): URL {
  const plain =
    config.plainHttp ?? (isDefaultPlain(registry) && !config.skipVerify && !namesCertificates(config));
  if (registry === DOCKER_HUB && !plain) return new URL(DOCKER_HUB_ENDPOINT);
  return parseUrl(plain ? 'http' : 'https', registry);
}

/** As in containerd: registries on this machine seldom have a certificate. */
function isDefaultPlain(registry: RegistryHost): boolean {
  return isThisMachine(parseUrl('http', registry).hostname);
}

/** Some names pass the parser for hosts but are invalid in a URL: `1.2.3.4.5`, `256.0.0.1`. */
function parseUrl(scheme: 'http' | 'https', registry: RegistryHost): URL {
  const url = URL.parse(`${scheme}://${registry}`);
  if (url === null) throw new WeirError('name_invalid', `not a host: ${JSON.stringify(registry)}`);
  return url;
}

/** `/v2` is appended to a path, unless it already begins so, as containerd does without and with `override_path`. */
function apiPath(base: URL): string {
  const path = base.pathname.replace(/\/+$/, '');
  return path === '/v2' || path.startsWith('/v2/') ? path : `${path}/v2`;
}

function tlsProfile(config: RegistryConfig): TlsProfile {
  return {
    caFiles: config.caFiles ?? [],
    client: config.clientCertificate,
    skipVerify: config.skipVerify ?? false,
  };
}

function namesCertificates({ caFiles = [], clientCertificate }: RegistryConfig): boolean {
  return caFiles.length > 0 || clientCertificate !== undefined;
}
