/**
 * One request with its redirects (RFC 9110, section 15.4), followed by hand: credentials never leave the origin
 * they were meant for, and TLS is never given up.
 */
import { isIPv4 } from 'node:net';
import { WeirError } from '../errors.ts';
import { isLoopback } from './endpoint.ts';
import type { Response } from './response.ts';

/** Registries redirect once, to their storage; some put a load balancer before. */
const MAX_REDIRECTS = 5;
const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

export interface Hop {
  readonly url: URL;
  readonly method: 'GET' | 'HEAD' | 'POST';
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface Followed {
  readonly response: Response;
  /** Whether another origin than the one asked gave the answer. */
  readonly isElsewhere: boolean;
}

/**
 * @param sendHop sends one request
 * @throws WeirError `upstream_protocol` for a redirect that is not followed
 */
export async function follow(hop: Hop, sendHop: (hop: Hop) => Promise<Response>): Promise<Followed> {
  let { url, headers } = hop;
  for (let count = 0; ; count++) {
    const response = await sendHop({ ...hop, url, headers });
    if (!REDIRECTS.has(response.status)) return { response, isElsewhere: url.origin !== hop.url.origin };
    const location = response.header('location');
    response.discard();
    // A refresh token in the body would go to wherever the redirect points.
    if (hop.method === 'POST') throw refused(url, 'a redirect of a POST');
    if (count === MAX_REDIRECTS) throw refused(url, `more than ${MAX_REDIRECTS} redirects`);
    const target = location === undefined ? null : URL.parse(location, url);
    if (target === null) throw refused(url, 'a redirect without a valid location');
    checkTarget(url, target);
    if (target.origin !== url.origin) headers = withoutAuthorization(headers); // and it stays so on the way back
    target.hash = '';
    url = target;
  }
}

function checkTarget(from: URL, to: URL): void {
  if (to.protocol !== 'https:' && to.protocol !== 'http:')
    throw refused(from, 'a redirect to another protocol');
  if (from.protocol === 'https:' && to.protocol === 'http:')
    throw refused(from, 'a redirect that gives up TLS');
  if (to.username !== '' || to.password !== '') throw refused(from, 'a redirect with a password in it');
  // The registry may be anyone's: it must not make this node ask its own services or a cloud's metadata server.
  if (isLinkLocal(to.hostname) || (isLoopback(to.hostname) && !isLoopback(from.hostname))) {
    throw refused(from, 'a redirect to an address of this machine');
  }
}

function isLinkLocal(hostname: string): boolean {
  return (isIPv4(hostname) && hostname.startsWith('169.254.')) || /^\[fe[89ab][0-9a-f]:/i.test(hostname);
}

function withoutAuthorization(headers: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const { authorization: _, ...rest } = headers;
  return rest;
}

function refused(from: URL, problem: string): WeirError {
  return new WeirError('upstream_protocol', `${from.origin} answered with ${problem}`);
}
