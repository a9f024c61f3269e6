/** The body of one response for a blob, or for a part of it. */
import { WeirError } from '../util/errors.ts';
import { protocolError } from './registry-answer.ts';
import type { BodyTaker, Response } from './response.ts';

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
 * Gives the wanted bytes to `take`, as {@link Response.into}. A registry that ignores ranges sends bytes before `start`; bytes
 * after `end` are not read.
 * @throws WeirError `upstream_protocol` for more bytes than announced, `upstream_cut` for fewer, `upstream_stalled`, `aborted`;
 *   an error of `take`
 */
export async function readPart(
  response: Response,
  { from, to, start, end }: BlobPart,
  take: BodyTaker,
): Promise<void> {
  let at = from;
  await response.into((bytes) => {
    if (at + bytes.length > to) throw protocolError(response, 'more bytes than announced');
    const before = Math.min(bytes.length, Math.max(0, start - at));
    const wanted = Math.min(bytes.length, Math.max(before, end - at));
    const taken = before < wanted ? take(bytes.subarray(before, wanted)) : 0;
    at += before + taken;
    if (before + taken < wanted) return before + taken;
    if (at >= end && at < to) response.leave();
    else at += bytes.length - wanted;
    return bytes.length;
  });
  if (at < Math.min(end, to))
    throw new WeirError('upstream_cut', `${response.origin} ended a blob ${to - at} bytes early`);
}
