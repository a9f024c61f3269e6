/**
 * The circuit breaker. An endpoint that could not be reached is skipped for a moment. Otherwise a pull of many
 * requests would pay the time-out for each of them. Pure: the clock is handed in.
 */
import { LRUCache } from 'lru-cache';
import { SECOND, type Clock } from '../util/clock.ts';
import { WeirError, type ErrorCode } from '../util/errors.ts';

/** Milliseconds: long enough to cover the requests of one pull, short enough that a restart goes unnoticed. */
const OPEN_TIME = 2 * SECOND;
/** Callers name endpoints, so the number is bounded; forgetting the oldest only costs a time-out. */
const MAX_ENDPOINTS = 256;

/** Codes of time-outs in which no connection was made (undici, Node.js). */
const CONNECTING: ReadonlySet<string> = new Set(['UND_ERR_CONNECT_TIMEOUT', 'ETIMEDOUT']);

interface Opened {
  readonly until: number;
  readonly code: ErrorCode;
  readonly reason: string | undefined;
}

export class Breaker {
  readonly #clock: Pick<Clock, 'monotonic'>;
  readonly #open = new LRUCache<string, Opened>({ max: MAX_ENDPOINTS });

  constructor(clock: Pick<Clock, 'monotonic'>) {
    this.#clock = clock;
  }

  /** @throws WeirError while it is open, with the code of the failure that opened it */
  check(endpoint: string): void {
    const opened = this.#open.get(endpoint);
    if (opened === undefined) return;
    if (this.#clock.monotonic() >= opened.until) {
      this.#open.delete(endpoint);
      return;
    }
    throw new WeirError(opened.code, `${endpoint} failed a moment ago and is not asked again yet`, {
      detail: { breaker: 'open', ...(opened.reason !== undefined && { reason: opened.reason }) },
    });
  }

  /**
   * `error` ended the last attempt. Opens if no connection to the endpoint could be made. A request that is not answered
   * speaks for itself alone, and failures of the storage or the token server do not count.
   */
  failed(endpoint: string, error: WeirError): void {
    const isConnecting = CONNECTING.has(String(error.detail['reason']));
    if (error.code !== 'upstream_unreachable' && !isConnecting) return;
    if (error.detail['origin'] !== endpoint) return;
    const until = this.#clock.monotonic() + OPEN_TIME;
    this.#open.set(endpoint, { until, code: error.code, reason: reasonOf(error) });
  }

  /** The endpoint answered. */
  answered(endpoint: string): void {
    this.#open.delete(endpoint);
  }
}

function reasonOf({ detail: { reason } }: WeirError): string | undefined {
  return typeof reason === 'string' ? reason : undefined;
}
