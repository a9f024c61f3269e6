/** The Range header of a blob request (RFC 9110, section 14.2), as far as a mirror supports it. */
import parseRange from 'range-parser';

/** Bytes `start` to `end`, excluding `end`. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

export type RangeRequest =
  | { readonly kind: 'whole' }
  | { readonly kind: 'part'; readonly range: ByteRange }
  | { readonly kind: 'unsatisfiable' };

const WHOLE: RangeRequest = { kind: 'whole' };

/**
 * The part of a blob of `size` bytes that the header asks for. A missing or malformed header, another unit and
 * several ranges all mean the whole blob: RFC 9110 lets a server ignore Range, and every runtime accepts a 200.
 */
export function parseRangeHeader(header: string | undefined, size: number): RangeRequest {
  if (header === undefined || !/^bytes=/i.test(header)) return WHOLE;
  const ranges = parseRange(size, boundSuffix(header.toLowerCase(), size));
  if (ranges === -2) return WHOLE;
  if (ranges === -1) return { kind: 'unsatisfiable' };
  const [first, ...others] = ranges;
  if (first === undefined || others.length > 0) return WHOLE;
  return { kind: 'part', range: { start: first.start, end: first.end + 1 } };
}

/** "The last N bytes" of a shorter blob are all of it (RFC 9110, section 14.1.2); range-parser refuses them. */
function boundSuffix(header: string, size: number): string {
  const suffix = /^bytes=-([0-9]+)$/.exec(header)?.[1];
  return suffix !== undefined && Number(suffix) > size ? `bytes=-${size}` : header;
}
