/** What a mirror says about a request that it does not serve, in the body of its answer (distribution spec, "Error Codes"). */
import * as v from 'valibot';
import { KIB } from '../../util/clock.ts';
import type { Response } from '../../upstream/response.ts';
import { cut, printable } from './terminal.ts';

/** Bytes of a body that is read; a mirror's has a few hundred. */
const MAX_BODY = 16 * KIB;
/** Characters that are shown. */
const MAX_MESSAGE = 600;

const schema = v.object({
  errors: v.pipe(
    v.array(
      v.object({
        message: v.string(),
        detail: v.fallback(v.optional(v.object({ weir: v.optional(v.string()) })), undefined),
      }),
    ),
    v.minLength(1),
  ),
});

/**
 * Reads the body. @returns `no first byte within 8.0 s (upstream_timeout)`; undefined if there is no message: of HEAD there is
 *   none, and something other than a mirror may have answered
 */
export async function mirrorMessage(response: Pick<Response, 'read'>): Promise<string | undefined> {
  try {
    const body = await response.read(MAX_BODY);
    const { errors } = v.parse(schema, JSON.parse(body.toString('utf8')));
    const { message = '', detail } = errors[0] ?? {};
    const code = detail?.weir === undefined ? '' : ` (${detail.weir})`;
    return message === '' ? undefined : cut(printable(message + code), MAX_MESSAGE);
  } catch {
    return undefined; // the status is what is known, and is told
  }
}
