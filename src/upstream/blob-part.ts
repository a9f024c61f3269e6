/** The body of one response for a blob, or for a part of it. */
import { WeirError } from '../util/errors.ts';
import { protocolError } from './registry-answer.ts';
import type { Response } from './response.ts';

/** Bytes of the blob; ends are excluded. */
export interface BlobPart {
  /** What the body holds, by its head. */
  readonly from: number;
  readonly to: number;
  /** What is wanted of it. */
  readonly start: number;
  readonly end: number;
}

/**
 * The wanted bytes. A registry that ignores ranges sends bytes before `start`; bytes after `end` are not read.
 * @throws WeirError `upstream_protocol` for more bytes than announced, `upstream_cut` for fewer, `upstream_stalled`, `aborted`
 */
export async function* readPart(
  response: Response,
  { from, to, start, end }: BlobPart,
): AsyncGenerator<Uint8Array, void, undefined> {
  let at = from;
  let position = start;
  for await (const chunk of response.chunks()) {
    const begin = Math.max(0, position - at);
    at += chunk.length;
    if (at > to) throw protocolError(response, 'more bytes than announced');
    const wanted = Math.min(chunk.length, chunk.length - (at - end));
    if (begin >= wanted) continue;
    position += wanted - begin;
    yield begin === 0 && wanted === chunk.length ? chunk : chunk.subarray(begin, wanted);
    if (position >= end && at < to) return;
  }
  if (at < to) throw new WeirError('upstream_cut', `${response.origin} ended a blob ${to - at} bytes early`);
}
