/** How the mirror answers: error bodies (distribution spec, "Error Codes"), entity tags, links to the next page. */
import { ERROR_CODES, isWeirError, UNANSWERED, WeirError } from '../util/errors.ts';
import type { Digest } from '../oci/digest.ts';
import { MEDIA_TYPES } from '../oci/manifest.ts';
import type { PassedThrough } from '../upstream/passed-through.ts';
import type { MirrorRequest } from './mirror-request.ts';
import { MAX_TARGET_LENGTH, type Route } from './route.ts';

const JSON_TYPE = 'application/json';
const BAD_GATEWAY = 502;
/** The registry could not be asked, or has failed. */
const NO_ANSWER = [...UNANSWERED, 'upstream_tls', 'upstream_status'] as const;
/** Content types that are JSON. */
const IS_JSON = /^application\/(?:[a-z0-9.+-]{1,100}\+)?json$/;

type ListRoute = Route & { kind: 'tags' | 'referrers' };

/**
 * Answers with an error. Nothing of the body may have been sent before.
 * @param route undefined if the request named none
 */
export function sendError(mirrorRequest: MirrorRequest, error: WeirError, route: Route | undefined): void {
  const { response } = mirrorRequest;
  const challenge = error.detail['challenge'];
  const oci = ociCode(error, route);
  if (isWeirError(error, 'upstream_unauthorized') && typeof challenge === 'string') {
    response.setHeader('WWW-Authenticate', challenge);
  }
  if (error.fault === 'local' && error.status >= 500) response.setHeader('Connection', 'close');
  const body = JSON.stringify({
    errors: [{ code: oci, message: error.message, detail: { weir: error.code } }],
  });
  for (const name of ['ETag', 'Docker-Content-Digest', 'Weir-Source']) response.removeHeader(name);
  response.writeHead(statusOf(error, route), {
    'Content-Type': JSON_TYPE,
    'Content-Length': Buffer.byteLength(body),
  });
  response.end(mirrorRequest.isHead ? undefined : body);
}

/**
 * After 404 a runtime goes on to the registry. A client that lists tags or referrers does not: it would take the answer for
 * "there are none".
 */
function statusOf(error: WeirError, route: Route | undefined): number {
  const isList = route?.kind === 'tags' || route?.kind === 'referrers';
  return isList && isWeirError(error, ...NO_ANSWER) ? BAD_GATEWAY : error.status;
}

/**
 * The error code of the distribution spec. Of a blob that is not to be had here, the client is to know just that:
 * containers/image goes on to the registry after BLOB_UNKNOWN alone.
 */
function ociCode(error: WeirError, route: Route | undefined): string {
  const isElsewhere = error.status === 404 && (error.fault !== 'caller' || error.code === 'loop');
  return route?.kind === 'blob' && isElsewhere ? 'BLOB_UNKNOWN' : ERROR_CODES[error.code].oci;
}

export function sendJson(mirrorRequest: MirrorRequest, body: string): void {
  mirrorRequest.response.writeHead(200, {
    'Content-Type': JSON_TYPE,
    'Content-Length': Buffer.byteLength(body),
  });
  mirrorRequest.response.end(mirrorRequest.isHead ? undefined : body);
}

/** Content is immutable under its digest, so the digest is the entity tag. */
export function setDigest(mirrorRequest: MirrorRequest, digest: Digest): void {
  mirrorRequest.response.setHeader('Docker-Content-Digest', digest);
  mirrorRequest.response.setHeader('ETag', `"${digest}"`);
}

/** Whether If-None-Match names the digest (RFC 9110, section 13.1.2: weak comparison, or `*`). */
export function isNotModified(mirrorRequest: MirrorRequest, digest: Digest): boolean {
  const header = mirrorRequest.request.headers['if-none-match'];
  if (header === undefined) return false;
  return header.split(',').some((tag) => {
    const plain = tag.trim().replace(/^W\//, '');
    return plain === '*' || plain === `"${digest}"`;
  });
}

export function sendNotModified(mirrorRequest: MirrorRequest): void {
  mirrorRequest.response.writeHead(304);
  mirrorRequest.response.end();
}

/**
 * The media type of a list of tags or referrers. The registry's own Content-Type is not relayed: a browser would obey it.
 * @throws WeirError `upstream_protocol` for referrers that are no JSON: clients treat the error as "not supported", as
 *   they do 404, and look elsewhere
 */
export function listType({ kind }: ListRoute, { status, mediaType }: PassedThrough): string {
  if (kind === 'tags' || status !== 200) return JSON_TYPE;
  if (IS_JSON.test(mediaType)) return MEDIA_TYPES.ociIndex;
  throw new WeirError(
    'upstream_protocol',
    'the registry answered a request for referrers with something else',
  );
}

/**
 * The registry's Link to the next page (RFC 8288), made to point at this mirror: `</v2/…?last=x&n=10>; rel="next"`.
 * Undefined if it cannot be read: the client then gets one page and no link.
 */
export function mirrorLink(link: string, route: ListRoute): string | undefined {
  const [, target] = /^\s*<([^>]*)>/.exec(link) ?? [];
  const url = target === undefined ? null : URL.parse(target, 'http://upstream.invalid');
  if (url === null) return undefined;
  const { searchParams } = url;
  if (route.ns !== undefined) searchParams.set('ns', route.ns);
  const next = `${route.mirrorPath}/${route.path}?${searchParams.toString()}`;
  // The registry's own parameters are dropped: they could make a browser load anything.
  return next.length <= MAX_TARGET_LENGTH ? `<${next}>; rel="next"` : undefined;
}
