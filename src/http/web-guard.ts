/**
 * Keeps web pages away from a server that trusts every client that reaches it.
 *
 * A page in a browser on this machine can make that browser send requests here. Two checks find such requests:
 *   Host          a page whose name leads here by DNS rebinding still sends that name; a runtime sends an address, or a
 *                 name that the operator has configured
 *   cross-site    browsers name the site that sends a request (Sec-Fetch-Site, Origin), and pages cannot prevent it
 * A page cannot use an answer that a browser gets in spite of these checks, either (local-server.ts).
 */
import type { IncomingHttpHeaders } from 'node:http';
import { isIPv6 } from 'node:net';
import { WeirError } from '../util/errors.ts';
import { isLoopback, plainAddress } from '../util/ip-address.ts';
import type { ListenAddress } from './listen.ts';

/**
 * A name, an IPv4 address or an IPv6 one in brackets, and perhaps a port, which is not checked: it may be forwarded.
 */
const HOST = /^(?:\[([0-9a-f:.]{2,45})\]|([a-z0-9._-]{1,254}))(?::\d{0,5})?$/i;
/** Characters of a foreign Host that an error shows. */
const MAX_SHOWN = 80;
/** Values of Sec-Fetch-Site for an address that was typed in, and for the server's own documents. */
const OWN_SITES: ReadonlySet<string> = new Set(['none', 'same-origin']);
/** A server that listens on one of these is reached at loopback, too. */
const WILDCARDS: ReadonlySet<string> = new Set(['0.0.0.0', '::']);

export interface WebGuardOptions {
  readonly listen: readonly ListenAddress[];
  /** Further names or addresses, without ports. */
  readonly hosts: readonly string[];
  /** The setting that names `hosts`, for errors. */
  readonly setting: string;
}

export interface GuardedRequest {
  readonly headers: IncomingHttpHeaders;
  readonly httpVersion: string;
  /** The server's side of the connection. */
  readonly localAddress: string | undefined;
}

export class WebGuard {
  readonly #setting: string;
  readonly #hosts: ReadonlySet<string>;
  readonly #isOnLoopback: boolean;

  constructor({ listen, hosts, setting }: WebGuardOptions) {
    const own = [...listen.map(({ host }) => host), ...hosts].map(
      (host) => plainAddress(host) ?? plainName(host),
    );
    this.#setting = setting;
    this.#hosts = new Set(['localhost', ...own]);
    this.#isOnLoopback = listen.some(
      ({ host }) => host === 'localhost' || WILDCARDS.has(host) || isLoopback(host),
    );
  }

  /** @throws WeirError `bad_request`, `host_not_allowed`, `cross_site` */
  check({ headers, httpVersion, localAddress }: GuardedRequest): void {
    const { host, origin, 'sec-fetch-site': site } = headers;
    if (host !== undefined) this.#checkHost(host, localAddress);
    // HTTP/1.0 has no Host. Health checks of load balancers still speak it; no browser does.
    else if (httpVersion !== '1.0')
      throw new WeirError('bad_request', `HTTP/${httpVersion} needs a Host header`);
    if (origin !== undefined || (site !== undefined && !OWN_SITES.has(site))) {
      throw new WeirError(
        'cross_site',
        'a web page of another site sent the request: this address is for programs, not for pages',
      );
    }
  }

  #checkHost(header: string, localAddress: string | undefined): void {
    const host = hostOf(header);
    if (host !== undefined && this.#isOwn(host, localAddress)) return;
    const shown = JSON.stringify(header.slice(0, MAX_SHOWN));
    throw new WeirError(
      'host_not_allowed',
      `Host ${shown} is neither localhost nor an address that this server listens on; ` +
        `if clients must use it, add it to ${this.#setting}`,
    );
  }

  #isOwn(host: string, localAddress: string | undefined): boolean {
    if (this.#hosts.has(host)) return true;
    if (plainAddress(host) === undefined) return false;
    if (isLoopback(host)) return this.#isOnLoopback;
    // One of the machine's addresses, if the server listens on all of them.
    return localAddress !== undefined && host === plainAddress(localAddress);
  }
}

/** The name or address in a Host header, in one spelling; undefined if it is malformed. */
function hostOf(header: string): string | undefined {
  const [, ipv6, other] = HOST.exec(header) ?? [];
  if (ipv6 !== undefined) return isIPv6(ipv6) ? plainAddress(ipv6) : undefined;
  return other === undefined ? undefined : plainName(other);
}

/** One spelling of a name: lower case, without the dot of the root. */
function plainName(name: string): string {
  return name.toLowerCase().replace(/\.$/, '');
}
