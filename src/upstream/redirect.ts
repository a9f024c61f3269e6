/**
 * One request with its redirects (RFC 9110, section 15.4). They are followed by hand: credentials never leave the
 * origin that they were meant for, and TLS is given up only where the operator says so.
 */
import { WeirError } from '../util/errors.ts';
import type { RegistryHost } from '../oci/repository.ts';
import type { ResponseHead } from './response.ts';

/** As many as Go's client follows, which runtimes use. Registries redirect once, to their storage. */
const MAX_REDIRECTS = 9;
const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

export interface Hop {
  readonly url: URL;
  /** The URL whose answer named `url`, as a redirect or as the realm of its token server; undefined if none did. */
  readonly from?: URL | undefined;
  readonly method: 'GET' | 'HEAD' | 'POST';
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface Followed<Head extends ResponseHead> {
  readonly response: Head;
  /** Whether the answer came from another origin than the one asked. */
  readonly isElsewhere: boolean;
}

/** Whether a registry may lead to a server without TLS. */
export interface PlainRule {
  readonly isPlainAllowed: boolean;
  /** For the error. */
  readonly registry: RegistryHost;
}

/**
 * @param sendHop sends one request
 * @throws WeirError `upstream_protocol` for a redirect that is not followed
 */
export async function follow<Head extends ResponseHead>(
  hop: Hop,
  sendHop: (hop: Hop) => Promise<Head>,
  rule: PlainRule,
): Promise<Followed<Head>> {
  let { url, headers, from } = hop;
  if (from !== undefined) checkStep(from, url, 'a token server', rule);
  for (let count = 0; ; count++) {
    const response = await sendHop({ ...hop, url, headers, from });
    if (!REDIRECTS.has(response.status)) return { response, isElsewhere: url.origin !== hop.url.origin };
    const location = response.header('location');
    response.discard();
    // A refresh token in the body would go wherever the redirect points.
    if (hop.method === 'POST') throw refused(url, 'a redirect of a POST');
    if (count === MAX_REDIRECTS) throw refused(url, `more than ${MAX_REDIRECTS} redirects`);
    const target = location === undefined ? null : URL.parse(location, url);
    if (target === null) throw refused(url, 'a redirect without a valid location');
    checkStep(url, target, 'a redirect', rule);
    if (target.origin !== url.origin) headers = withoutAuthorization(headers); // and for all further steps
    target.hash = '';
    from = url;
    url = target;
  }
}

/** Checks of addresses happen when the connection is made (reach.ts). */
function checkStep(from: URL, to: URL, what: string, { isPlainAllowed, registry }: PlainRule): void {
  if (to.protocol !== 'https:' && to.protocol !== 'http:')
    throw refused(from, `${what} with another protocol than http and https`);
  if (from.protocol === 'https:' && to.protocol === 'http:' && !isPlainAllowed)
    throw refused(
      from,
      `${what} that gives up TLS; to allow it, set registries."${registry}".plain-redirects`,
    );
  if (to.username !== '' || to.password !== '') throw refused(from, `${what} with a password in its URL`);
}

function withoutAuthorization(headers: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const { authorization: _, ...rest } = headers;
  return rest;
}

function refused(from: URL, problem: string): WeirError {
  return new WeirError('upstream_protocol', `${from.origin} answered with ${problem}`);
}
