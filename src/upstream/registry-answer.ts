/** Interprets the answers of registries: statuses as errors, and headers read strictly. */
import { tryParseDigest, type Digest } from '../oci/digest.ts';
import type { Clock } from '../util/clock.ts';
import { WeirError, type ErrorCode } from '../util/errors.ts';
import type { Followed } from './redirect.ts';
import type { ResponseHead } from './response.ts';
import { parseRetryAfter } from './retry.ts';

/** Encodings that change bytes (IANA, HTTP Content Coding Registry). Names that are no coding are passed over. */
const CODING = /^(?:(?:x-)?gzip|deflate|compress|br|zstd)$/;
const LENGTH = /^[0-9]{1,15}$/;
const CONTENT_RANGE = /^bytes ([0-9]{1,15})-([0-9]{1,15})\/([0-9]{1,15})$/;
const UNSATISFIED_RANGE = /^bytes \*\/([0-9]{1,15})$/;

/**
 * The response, if its status is one of `expected`; otherwise its body is discarded.
 * @param notFound the code for a 404
 * @throws WeirError `notFound`, `upstream_denied`, `upstream_throttled`, `upstream_status`
 */
export function expectStatus<Head extends ResponseHead>(
  followed: Followed<Head>,
  expected: readonly number[],
  notFound: ErrorCode,
  clock: Pick<Clock, 'now'>,
): Head {
  const { response, isElsewhere } = followed;
  if (expected.includes(response.status)) return response;
  response.discard();
  throw statusError(response, isElsewhere, notFound, clock);
}

function statusError(
  response: ResponseHead,
  isElsewhere: boolean,
  notFound: ErrorCode,
  clock: Pick<Clock, 'now'>,
): WeirError {
  const { status, origin } = response;
  const retryAfter = parseRetryAfter(response.header('retry-after'), clock.now());
  const waits = status === 429 || status === 503;
  const detail = {
    status,
    origin,
    ...(waits && retryAfter !== undefined && { retryAfter }),
    ...(isElsewhere && { elsewhere: 1 }),
  };
  const error = (code: ErrorCode): WeirError =>
    new WeirError(code, `${origin} answered with status ${status}`, { detail });
  // Storage has no accounts: its 401 and 403 mean that a signed URL expired, not that the caller is refused.
  if (isElsewhere && (status === 401 || status === 403)) return error('upstream_status');
  if (status === 403) return error('upstream_denied');
  if (status === 404) return error(notFound);
  if (status === 429) return error('upstream_throttled');
  return error('upstream_status');
}

/** Content-Length in bytes; undefined if it is missing. @throws WeirError `upstream_protocol` */
export function contentLength(response: ResponseHead): number | undefined {
  const header = response.header('content-length');
  if (header === undefined) return undefined;
  if (!LENGTH.test(header)) throw protocolError(response, 'a malformed Content-Length');
  return Number(header);
}

/** Bytes of the content, as its header says; undefined if it does not, or if it may be encoded. @throws as {@link contentLength} */
export function contentSize(response: ResponseHead): number | undefined {
  return CODING.test(codingOf(response)) ? undefined : contentLength(response);
}

function codingOf(response: ResponseHead): string {
  return (response.header('content-encoding') ?? '').trim().toLowerCase();
}

/** Docker-Content-Digest. */
export function digestHeader(response: ResponseHead): Digest | undefined {
  return tryParseDigest(response.header('docker-content-digest') ?? '');
}

export interface ContentRange {
  readonly start: number;
  /** Excluded. */
  readonly end: number;
  readonly total: number;
}

/** Content-Range of a 206; undefined if it is missing, malformed or without a total. */
export function contentRange(response: ResponseHead): ContentRange | undefined {
  const match = CONTENT_RANGE.exec(response.header('content-range') ?? '');
  const [start, last, total] = (match ?? []).slice(1).map(Number);
  if (start === undefined || last === undefined || total === undefined || last < start || last >= total) {
    return undefined;
  }
  return { start, end: last + 1, total };
}

/** The size in a 416. */
export function unsatisfiedTotal(response: ResponseHead): number | undefined {
  const match = UNSATISFIED_RANGE.exec(response.header('content-range') ?? '');
  return match?.[1] === undefined ? undefined : Number(match[1]);
}

/**
 * Whether the body of a blob is gzipped. Only identity was asked for, and storage may keep a name of an encoding with
 * content that it never encoded: if the length is right, the bytes are taken as they are, and the digest decides.
 * @param size bytes of the content, if that is known
 * @throws WeirError `upstream_protocol` for another encoding than gzip
 */
export function isGzipped(response: ResponseHead, size: number | undefined): boolean {
  const encoding = codingOf(response);
  if (size === undefined || !CODING.test(encoding) || contentLength(response) === size) return false;
  if (encoding.endsWith('gzip')) return true;
  throw protocolError(response, `content encoding ${JSON.stringify(encoding)}`);
}

export function protocolError(response: ResponseHead, problem: string): WeirError {
  response.discard();
  return new WeirError('upstream_protocol', `${response.origin} answered with ${problem}`, {
    detail: { status: response.status },
  });
}
