/** How the mirror answers: error bodies (distribution spec, "Error Codes"), entity tags, links to the next page. */
import { ERROR_CODES, isWeirError, type WeirError } from '../errors.ts';
import type { Digest } from '../oci/digest.ts';
import type { Exchange } from './exchange.ts';
import type { Route } from './route.ts';

/** Answers with an error; nothing of the body may have been sent. */
export function sendError(exchange: Exchange, error: WeirError): void {
  const { response } = exchange;
  const challenge = error.detail['challenge'];
  const { oci } = ERROR_CODES[error.code];
  if (isWeirError(error, 'upstream_unauthorized') && typeof challenge === 'string') {
    response.setHeader('WWW-Authenticate', challenge);
  }
  if (error.fault === 'local' && error.status >= 500) response.setHeader('Connection', 'close');
  const body = JSON.stringify({
    errors: [{ code: oci, message: error.message, detail: { weir: error.code } }],
  });
  for (const name of ['ETag', 'Docker-Content-Digest', 'Weir-Source']) response.removeHeader(name);
  response.writeHead(error.status, {
    'Content-Type': 'application/json',
    'Content-Length': Buffer.byteLength(body),
  });
  response.end(exchange.isHead ? undefined : body);
}

export function sendJson(exchange: Exchange, body: string): void {
  exchange.response.writeHead(200, {
    'Content-Type': 'application/json',
    'Content-Length': Buffer.byteLength(body),
  });
  exchange.response.end(exchange.isHead ? undefined : body);
}

/** Content is immutable under its digest, so the digest is the entity tag. */
export function setDigest(exchange: Exchange, digest: Digest): void {
  exchange.response.setHeader('Docker-Content-Digest', digest);
  exchange.response.setHeader('ETag', `"${digest}"`);
}

/** Whether If-None-Match names the digest (RFC 9110, section 13.1.2: weak comparison, or `*`). */
export function isNotModified(exchange: Exchange, digest: Digest): boolean {
  const header = exchange.request.headers['if-none-match'];
  if (header === undefined) return false;
  return header.split(',').some((tag) => {
    const plain = tag.trim().replace(/^W\//, '');
    return plain === '*' || plain === `"${digest}"`;
  });
}

export function sendNotModified(exchange: Exchange): void {
  exchange.response.writeHead(304);
  exchange.response.end();
}

/**
 * Upstream's Link to the next page (RFC 8288), made to point at this mirror: `</v2/…?last=x&n=10>; rel="next"`.
 * Undefined where it cannot be read: the client then has one page, and sees that there is no link.
 */
export function mirrorLink(link: string, route: Route & { kind: 'tags' | 'referrers' }): string | undefined {
  const match = /^\s*<([^>]*)>\s*(;.*)?$/.exec(link);
  if (match === null) return undefined;
  const [, target = '', parameters = '; rel="next"'] = match;
  const base = 'http://upstream.invalid';
  if (!URL.canParse(target, base)) return undefined;
  const { searchParams } = new URL(target, base);
  if (route.ns !== undefined) searchParams.set('ns', route.ns);
  return `<${route.mirrorPath}/${route.path}?${searchParams.toString()}>${parameters}`;
}
