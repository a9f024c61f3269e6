/**
 * Registry hosts and repository names (OCI distribution spec, section "Pulling manifests").
 */
import { isIPv6 } from 'node:net';
import { WeirError } from '../util/errors.ts';

declare const hostBrand: unique symbol;
declare const nameBrand: unique symbol;

/** A registry as users write it: `docker.io`, `ghcr.io`, `localhost:5000`, `[::1]:5000`; lower case. */
export type RegistryHost = string & { readonly [hostBrand]: true };

/** A repository's name within its registry: `library/alpine`. */
export type RepositoryName = string & { readonly [nameBrand]: true };

export interface Repository {
  readonly registry: RegistryHost;
  readonly name: RepositoryName;
}

export const DOCKER_HUB: RegistryHost = 'docker.io' as RegistryHost;

/** Length bound of the distribution spec: "hostname and repository name … 255 characters". */
const MAX_NAME_LENGTH = 255;
const NAME_COMPONENT = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*';
const NAME = new RegExp(`^${NAME_COMPONENT}(?:/${NAME_COMPONENT})*$`);
const DOMAIN_LABEL = '[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?';
const DOMAIN = new RegExp(`^${DOMAIN_LABEL}(?:\\.${DOMAIN_LABEL})*\\.?$`);
const HOST_AND_PORT = /^(\[[0-9a-f:.]+\]|[^:[\]/@?#\s]+)(?::([0-9]{1,5}))?$/;
const HUB_ALIASES: ReadonlySet<string> = new Set([
  'docker.io',
  'index.docker.io',
  'registry-1.docker.io',
  'registry.hub.docker.com',
]);

/** The registry named by `text`, with Docker Hub's aliases folded into `docker.io`; undefined if it is none. */
export function tryParseRegistryHost(text: string): RegistryHost | undefined {
  const lower = text.toLowerCase();
  if (lower.length > MAX_NAME_LENGTH) return undefined;
  const match = HOST_AND_PORT.exec(lower);
  if (match === null) return undefined;
  const [, host = '', port] = match;
  if (port !== undefined && (Number(port) < 1 || Number(port) > 65535)) return undefined;
  const known = host.startsWith('[') ? isIPv6(host.slice(1, -1)) : DOMAIN.test(host);
  if (!known) return undefined;
  return (HUB_ALIASES.has(lower) ? DOCKER_HUB : lower) as RegistryHost;
}

/** @throws WeirError `name_invalid` */
export function parseRegistryHost(text: string): RegistryHost {
  const host = tryParseRegistryHost(text);
  if (host === undefined) {
    throw new WeirError(
      'name_invalid',
      `not a registry: ${JSON.stringify(text.slice(0, MAX_NAME_LENGTH))} (allowed: host, host:port, [IPv6]:port)`,
    );
  }
  return host;
}

/**
 * Whether the first path element of a reference names a registry, instead of a part of the repository's name: the
 * rule of docker's reference grammar (a dot, a port, or `localhost`).
 */
export function looksLikeHost(element: string): boolean {
  return element.includes('.') || element.includes(':') || element === 'localhost';
}

export function tryParseRepositoryName(text: string): RepositoryName | undefined {
  return text.length <= MAX_NAME_LENGTH && NAME.test(text) ? (text as RepositoryName) : undefined;
}

/**
 * The repository `name` of `registry`. On Docker Hub a name of one component belongs to `library/`.
 * @throws WeirError `name_invalid`
 */
export function parseRepository(registry: RegistryHost, name: string): Repository {
  const parsed = tryParseRepositoryName(
    registry === DOCKER_HUB && name !== '' && !name.includes('/') ? `library/${name}` : name,
  );
  if (parsed === undefined) {
    throw new WeirError(
      'name_invalid',
      `not a repository name: ${JSON.stringify(name.slice(0, MAX_NAME_LENGTH))} ` +
        '(allowed: lower-case letters, digits and separators ._- between slashes, at most 255 characters)',
    );
  }
  return { registry, name: parsed };
}

/** `docker.io/library/alpine`: the key of data that belongs to one repository. */
export function repositoryKey(repository: Repository): string {
  return `${repository.registry}/${repository.name}`;
}
