/** Parses requests at the data port. Strict: a member that speaks this protocol writes them in one way only. */
import type { IncomingHttpHeaders } from 'node:http';
import { tryParseDigest } from '../oci/digest.ts';
import { tryParseRegistryHost, tryParseRepositoryName } from '../oci/repository.ts';
import type { OwnerRequest, ChunkFetch } from './chunk-exchange.ts';
import { BLOB_PATH, HEADER, LIMITS, parseNumber } from './wire-format.ts';

export interface RequestHead {
  readonly method?: string | undefined;
  readonly url?: string | undefined;
  readonly headers: IncomingHttpHeaders;
}

export type ParsedRequest = { readonly request: ChunkFetch } | { readonly refused: 400 | 405 | 414 };

const BAD: ParsedRequest = { refused: 400 };
const TARGET = /^([^/?#]+)\?registry=([^&?#]+)$/;
const RANGE = /^bytes=(0|[1-9][0-9]{0,14})-(0|[1-9][0-9]{0,14})$/;
/** token68 (RFC 9110, section 11.2), no longer than the mirror accepts. */
const BEARER = /^Bearer ([A-Za-z0-9._~+/-]{1,16384}=*)$/;

export function parseRequest({ method, url = '', headers }: RequestHead): ParsedRequest {
  if (method !== 'GET') return { refused: 405 };
  if (url.length > LIMITS.target) return { refused: 414 };
  const hasBody = headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0';
  if (hasBody || headers.host === undefined || headers.expect !== undefined || headers.upgrade !== undefined)
    return BAD;
  const swarm = parseTarget(url);
  const range = parseRange(headers.range);
  const owner = parseOwner(headers);
  if (swarm === undefined || range === 'bad' || owner === 'bad') return BAD;
  if (owner?.size !== undefined && owner.size < (range?.end ?? 0)) return BAD;
  return { request: { swarm, range, owner } };
}

function parseTarget(url: string): ChunkFetch['swarm'] | undefined {
  if (!url.startsWith(BLOB_PATH)) return undefined;
  const [, name = '', host = ''] = TARGET.exec(url.slice(BLOB_PATH.length)) ?? [];
  const digest = tryParseDigest(decode(name));
  const registry = tryParseRegistryHost(decode(host));
  return digest === undefined || registry === undefined ? undefined : { digest, registry };
}

function parseRange(header: string | undefined): ChunkFetch['range'] | 'bad' {
  if (header === undefined) return undefined;
  const [, first, last] = RANGE.exec(header) ?? [];
  if (first === undefined || last === undefined) return 'bad';
  const range = { start: Number(first), end: Number(last) + 1 };
  const length = range.end - range.start;
  return length < 1 || length > LIMITS.chunk || range.end > LIMITS.size ? 'bad' : range;
}

function parseOwner(headers: IncomingHttpHeaders): OwnerRequest | undefined | 'bad' {
  const name = headers[HEADER.owner];
  // Only an owner needs a credential, and a Basic one never leaves its node.
  if (name === undefined) return headers.authorization === undefined ? undefined : 'bad';
  const repository = typeof name === 'string' ? tryParseRepositoryName(name) : undefined;
  const text = headers[HEADER.size];
  const size = typeof text === 'string' ? parseNumber(text, LIMITS.size) : undefined;
  if (repository === undefined || (text !== undefined && size === undefined)) return 'bad';
  if (headers.authorization === undefined) return { repository, token: undefined, size };
  const token = BEARER.exec(headers.authorization)?.[1];
  return token === undefined ? 'bad' : { repository, token, size };
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return ''; // a broken escape: neither a digest nor a registry
  }
}

/** The request's target and headers; the inverse of {@link parseRequest}. */
export function formatRequest({ swarm, range, owner }: ChunkFetch): { target: string; headers: string } {
  const target = `${BLOB_PATH}${swarm.digest}?registry=${encodeURIComponent(swarm.registry)}`;
  let headers = range === undefined ? '' : `Range: bytes=${range.start}-${range.end - 1}\r\n`;
  if (owner !== undefined) {
    headers += `${HEADER.owner}: ${owner.repository}\r\n`;
    if (owner.size !== undefined) headers += `${HEADER.size}: ${owner.size}\r\n`;
    const authorization = `Bearer ${owner.token ?? ''}`;
    // Any other token could break out of its line. Without a token, the owner answers that it is unable.
    if (BEARER.test(authorization)) headers += `Authorization: ${authorization}\r\n`;
  }
  return { target, headers };
}
