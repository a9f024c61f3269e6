/** The body of `POST /v1/preheats`. */
import { randomBytes } from 'node:crypto';
import * as v from 'valibot';
import { HOUR, SECOND, type Clock } from '../util/clock.ts';
import { WeirError } from '../util/errors.ts';
import { parsePlatform } from '../oci/platform.ts';
import { formatImageReference, parseImageReference } from '../oci/reference.ts';
import type { RegistryHost } from '../oci/repository.ts';
import { fitsOrder, PREHEAT_LIMITS, type PreheatOrder } from '../protocol/preheat-messages.ts';
import { tryParseNodeCount, type NodeCount } from './choose-nodes.ts';

/** Milliseconds for which an order keeps what it has pulled, if it does not say. */
const DEFAULT_KEEP = 24 * HOUR;
/** Seconds of {@link PREHEAT_LIMITS}. */
const [MAX_KEEP, MAX_DELAY] = [PREHEAT_LIMITS.keep / SECOND, PREHEAT_LIMITS.delay / SECOND];
/** Characters of one image as it is written: registry, name, tag and digest. */
const MAX_IMAGE = 1024;
const ID_BYTES = 16;

export interface OrderRequest {
  readonly order: PreheatOrder;
  /** Undefined: any. */
  readonly zone: string | undefined;
  readonly nodes: NodeCount;
}

const schema = v.strictObject({
  images: v.pipe(
    v.array(v.pipe(v.string(), v.maxLength(MAX_IMAGE))),
    v.minLength(1, 'names no image'),
    v.maxLength(
      PREHEAT_LIMITS.images,
      `names more than ${PREHEAT_LIMITS.images} images: make several orders`,
    ),
  ),
  zone: v.optional(v.pipe(v.string(), v.regex(/^[\w.\-/]{1,63}$/, 'is no zone'))),
  nodes: v.optional(v.union([v.pipe(v.number(), v.transform(String)), v.string()]), 'all'),
  platform: v.optional(v.pipe(v.string(), v.maxLength(PREHEAT_LIMITS.platform, 'is no platform'))),
  at: v.optional(v.pipe(v.string(), v.maxLength(40), v.isoTimestamp('is no time of RFC 3339'))),
  delay_seconds: v.optional(
    v.pipe(v.number(), v.minValue(0), v.maxValue(MAX_DELAY, `is more than ${MAX_DELAY} (7 days)`)),
  ),
  keep_seconds: v.optional(
    v.pipe(v.number(), v.minValue(0), v.maxValue(MAX_KEEP, `is more than ${MAX_KEEP} (30 days)`)),
  ),
});

/**
 * @param text JSON
 * @throws WeirError `bad_request`, `reference_invalid`, `name_invalid`
 */
export function parseOrderRequest(text: string, clock: Clock, defaultRegistry: RegistryHost): OrderRequest {
  const { images, zone, nodes, platform, at, delay_seconds: delay, keep_seconds: keep } = read(text);
  const count = tryParseNodeCount(nodes);
  if (count === undefined) throw refuse('nodes: allowed are "all", a number such as 2, or "10%"');
  if (at !== undefined && delay !== undefined) throw refuse('either at or delay_seconds, not both');
  const references = new Map(
    images.map((image) => {
      const reference = parseImageReference(image, defaultRegistry);
      return [formatImageReference(reference), reference];
    }),
  );
  const order = {
    id: randomBytes(ID_BYTES).toString('hex'),
    images: [...references.values()],
    platform: platform === undefined ? undefined : parsePlatform(platform),
    ...timesOf(clock.now(), at, delay),
    keep: keep === undefined ? DEFAULT_KEEP : keep * SECOND,
  };
  if (!fitsOrder(order.images)) throw refuse(`images: names of more than ${PREHEAT_LIMITS.names} characters`);
  return { order, zone, nodes: count };
}

function timesOf(
  now: number,
  at: string | undefined,
  delay: number | undefined,
): { readonly starts: number; readonly expires: number } {
  const wanted = at === undefined ? now + (delay ?? 0) * SECOND : Date.parse(at);
  if (wanted > now + PREHEAT_LIMITS.delay) throw refuse('at: is more than 7 days ahead');
  if (wanted < now - PREHEAT_LIMITS.lifetime) throw refuse('at: is past');
  const starts = Math.max(now, Math.round(wanted));
  return { starts, expires: starts + PREHEAT_LIMITS.lifetime };
}

function read(text: string): v.InferOutput<typeof schema> {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new WeirError('bad_request', 'the order is not JSON', { cause });
  }
  const parsed = v.safeParse(schema, json);
  if (parsed.success) return parsed.output;
  const [issue] = parsed.issues;
  throw refuse(`${v.getDotPath(issue) ?? 'the order'}: ${issue.message}`);
}

function refuse(problem: string): WeirError {
  return new WeirError('bad_request', problem);
}
