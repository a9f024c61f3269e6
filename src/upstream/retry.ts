/** Decides when a request is repeated, and after which wait. Pure: the clock and the random number are handed in. */
import { MILLISECOND, SECOND } from '../util/clock.ts';
import type { ErrorCode, WeirError } from '../util/errors.ts';

/** The first wait is at most this long, in milliseconds. */
const BASE_DELAY = 100 * MILLISECOND;
/** The longest wait, unless the registry names a longer one. */
const MAX_DELAY = 2 * SECOND;
/**
 * A body that broke off is tried again for at least this long after its last byte: a registry that restarts needs two
 * seconds. With a longer time, a runtime would learn much later than without Weir that the registry is gone for good.
 */
export const RESUME_PATIENCE: number = 4 * SECOND;
/** The longest wait that a registry may ask for: runtimes give up or go elsewhere by then. */
const MAX_RETRY_AFTER = 10 * SECOND;

/** Temporary failures; `upstream_status` depends on the status. */
const RETRYABLE: ReadonlySet<ErrorCode> = new Set([
  'upstream_unreachable',
  'upstream_timeout',
  'upstream_stalled',
  'upstream_cut',
  'upstream_throttled',
]);

/**
 * Milliseconds to wait before repetition number `attempt` (0 for the first). Exponential with full jitter: nodes that
 * failed together must not come back together.
 * @param random a number in [0, 1)
 * @param retryAfter milliseconds that the registry asked for; jitter of a tenth is added
 */
export function retryDelay(attempt: number, random: number, retryAfter?: number): number {
  if (retryAfter !== undefined) return Math.min(retryAfter, MAX_RETRY_AFTER) * (1 + random / 10);
  return random * Math.min(MAX_DELAY, BASE_DELAY * 2 ** Math.min(attempt, 10));
}

/**
 * Milliseconds that a Retry-After header asks for: seconds or an HTTP date (RFC 9110, section 10.2.3).
 * @param now milliseconds since the epoch
 */
export function parseRetryAfter(header: string | undefined, now: number): number | undefined {
  if (header === undefined) return undefined;
  const text = header.trim();
  if (/^[0-9]{1,9}$/.test(text)) return Math.min(Number(text) * SECOND, MAX_RETRY_AFTER);
  const date = /^[A-Z][a-z]{2}, /.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(date) ? undefined : Math.min(Math.max(0, date - now), MAX_RETRY_AFTER);
}

/** Whether the same request may succeed if it is sent again. */
export function isRetryable(error: WeirError): boolean {
  if (error.code !== 'upstream_status') return RETRYABLE.has(error.code);
  const status = error.detail['status'];
  if (typeof status !== 'number') return false;
  // Storage answers 401 or 403 to a signed URL that has expired: the registry gives a new one.
  const isStale = error.detail['elsewhere'] !== undefined && (status === 401 || status === 403);
  return isStale || status === 408 || status >= 500;
}

/** The wait that the registry asked for with the answer that became `error`, in milliseconds. */
export function retryAfterOf(error: WeirError): number | undefined {
  const value = error.detail['retryAfter'];
  return typeof value === 'number' ? value : undefined;
}
