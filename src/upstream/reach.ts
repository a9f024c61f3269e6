/**
 * How far a request may go, by who named the place it goes to:
 *
 * - the operator, in `registries` (a registry's name, its endpoint, its mirrors): anywhere;
 * - a caller of this node: wherever its runtime could go itself, thus also to this machine and its networks, but not
 *   to link-local addresses and metadata services, which no registry is at;
 * - a registry (redirects, realms) or another member: not to this machine. A registry that is on this machine may
 *   name others there, since who runs it reaches them anyway; but not for a member, who does not.
 */
import type { RegistryHost } from '../oci/repository.ts';
import type { Reach } from './address-guard.ts';
import { isOfThisNode, type Caller } from './caller.ts';
import { endpointsOf, isThisMachine, type Endpoint } from './endpoint.ts';
import type { RegistryConfig } from './registry-config.ts';

/** A URL and how it came about. */
export interface Named {
  readonly url: URL;
  /** Whose answer named it; undefined: it is at the endpoint itself. */
  readonly from: URL | undefined;
  readonly endpoint: Pick<Endpoint, 'origin'>;
  readonly caller: Caller;
}

export class Reaches {
  /** `host:port` of all that the operator has configured. */
  readonly #places: ReadonlySet<string>;
  readonly #allowPrivate: boolean;

  /** @throws WeirError `name_invalid` where a registry's name is no host */
  constructor(registries: ReadonlyMap<RegistryHost, RegistryConfig>, allowPrivate: boolean) {
    const hosts = [...registries.keys()];
    const origins = [
      // Of a name without a port it is both of these ports.
      ...hosts.flatMap((host) => [`http://${host}`, `https://${host}`]),
      ...hosts.flatMap((host) => endpointsOf(host, registries)).map(({ origin }) => origin),
    ];
    this.#places = new Set(origins.map((origin) => placeOf(new URL(origin))));
    this.#allowPrivate = allowPrivate;
  }

  of({ url, from, endpoint, caller }: Named): Reach {
    if (this.#places.has(placeOf(url))) return 'anywhere';
    const isCallers = isOfThisNode(caller);
    if (isCallers && url.origin === endpoint.origin) return 'node';
    // By its name and not by its address: a name that is resolved says today this and tomorrow that.
    const isLocal = isCallers && from !== undefined && isThisMachine(from.hostname);
    if (isLocal) return this.#allowPrivate ? 'node' : 'internet and loopback';
    return this.#allowPrivate ? 'network' : 'internet';
  }
}

function placeOf(url: URL): string {
  const port = url.port || (url.protocol === 'https:' ? '443' : '80');
  return `${url.hostname}:${port}`;
}
