/**
 * How far a request may go, by who named its target:
 *
 * - The operator, in `registries` (a registry's name, its endpoint, its mirrors): anywhere.
 * - A caller of this node: wherever its runtime could go itself, thus also to this machine and its networks. Not to
 *   link-local addresses and metadata services, as no registry is there.
 * - A registry (redirects, realms) or another member: not to this machine. A registry on this machine may name others
 *   there for a caller of this node, since its operator reaches them anyway. It may not do so for another member.
 */
import type { RegistryHost } from '../oci/repository.ts';
import type { Reach } from './address-guard.ts';
import { isOfThisNode, type Caller } from './caller.ts';
import { endpointsOf, isThisMachine, type Endpoint } from './endpoint.ts';
import type { RegistryConfig } from './registry-config.ts';

/** A URL and its source. */
export interface Named {
  readonly url: URL;
  /** The URL whose answer named it; undefined if it is at the endpoint itself. */
  readonly from: URL | undefined;
  readonly endpoint: Pick<Endpoint, 'origin'>;
  readonly caller: Caller;
}

export class Reaches {
  /** `host:port` of every target that the operator configured. */
  readonly #places: ReadonlySet<string>;
  readonly #allowPrivate: boolean;

  /** @throws WeirError `name_invalid` if a registry's name is no host */
  constructor(registries: ReadonlyMap<RegistryHost, RegistryConfig>, allowPrivate: boolean) {
    const hosts = [...registries.keys()];
    const origins = [
      // A name without a port counts with both default ports.
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
    // Judged by its name instead of its address: a name may resolve differently tomorrow.
    const isLocal = isCallers && from !== undefined && isThisMachine(from.hostname);
    if (isLocal) return this.#allowPrivate ? 'node' : 'internet and loopback';
    return this.#allowPrivate ? 'network' : 'internet';
  }
}

function placeOf(url: URL): string {
  const port = url.port || (url.protocol === 'https:' ? '443' : '80');
  return `${url.hostname}:${port}`;
}
