/**
 * The attempts of one call. Each mirror is tried once, in order. Then the registry itself is tried, with waits and
 * retries if they may help. A registry that does not answer at all is skipped for a moment (breaker.ts).
 */
import { LRUCache } from 'lru-cache';
import { HOUR, SECOND, type Clock } from '../util/clock.ts';
import { toWeirError, WeirError } from '../util/errors.ts';
import type { RegistryHost } from '../oci/repository.ts';
import type { Breaker } from './breaker.ts';
import { endpointsOf, type Endpoint } from './endpoint.ts';
import { abortError, throwIfAborted } from './failure.ts';
import type { RegistryConfig, UpstreamObserver } from './registry-config.ts';
import { isRetryable, RESUME_PATIENCE, retryAfterOf, retryDelay } from './retry.ts';

/** As long as a client that cannot go elsewhere waits for its first byte. */
const MAX_HEADER_TIMEOUT = 30 * SECOND;

const MAX_REGISTRIES = 1_000;

/** Registries that were seen to begin their answers late: they get their time at once, for an hour. */
export class SlowRegistries {
  readonly #timeouts: LRUCache<RegistryHost, number>;

  constructor(clock: Clock) {
    const perf = { now: (): number => clock.monotonic() };
    this.#timeouts = new LRUCache({ max: MAX_REGISTRIES, ttl: 1 * HOUR, perf });
  }

  /** Milliseconds until the header of a first attempt; undefined if nothing is known. */
  timeout(registry: RegistryHost): number | undefined {
    return this.#timeouts.get(registry);
  }

  /** It answered within `timeout` milliseconds, and not within those of a first attempt. */
  answered(registry: RegistryHost, timeout: number): void {
    this.#timeouts.set(registry, timeout);
  }
}

export interface AttemptsContext {
  readonly registries: ReadonlyMap<RegistryHost, RegistryConfig>;
  readonly breaker: Breaker;
  readonly clock: Clock;
  readonly observer: UpstreamObserver | undefined;
  /** Milliseconds until the header of a first attempt. */
  readonly headerTimeout: number;
  readonly slow: SlowRegistries;
}

export class Attempts {
  readonly #context: AttemptsContext;
  readonly #registry: RegistryHost;
  readonly #endpoints: readonly Endpoint[];
  readonly #retries: number;
  readonly #signal: AbortSignal | undefined;
  readonly #deadMirrors = new Set<Endpoint>();
  /** Failures since the last progress. */
  #failures = 0;
  /** Monotonic milliseconds; undefined before anything has arrived. */
  #progressedAt: number | undefined;
  #lastError: WeirError | undefined;
  #hasSucceeded = false;

  /**
   * @param retries how often the registry is asked again without progress in between
   * @throws WeirError `name_invalid` if the registry's name is no host
   */
  constructor(
    context: AttemptsContext,
    registry: RegistryHost,
    retries: number,
    signal: AbortSignal | undefined,
  ) {
    this.#context = context;
    this.#registry = registry;
    this.#endpoints = endpointsOf(registry, context.registries);
    this.#retries = retries;
    this.#signal = signal;
  }

  /**
   * Milliseconds until the header of the next attempt. A request that was lost is answered at the second one; a registry that
   * is slow to begin is given longer each time.
   */
  get headerTimeout(): number {
    const { headerTimeout, slow } = this.#context;
    const first = slow.timeout(this.#registry) ?? headerTimeout;
    return Math.min(MAX_HEADER_TIMEOUT, first * 2 ** this.#failures);
  }

  /** The result of `work` at the first endpoint where it succeeds. @throws WeirError the registry's own failure */
  async run<T>(work: (endpoint: Endpoint) => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await this.#round(work);
      } catch (error) {
        await this.failed(toWeirError(error));
      }
    }
  }

  /** Waits until the next attempt. @throws WeirError `error` if there is none */
  async failed(error: WeirError): Promise<void> {
    const { clock, observer, breaker } = this.#context;
    const own = this.#endpoints.at(-1)?.origin ?? '';
    if (this.#signal?.aborted) {
      // The caller left during the last attempt; the failure before still shows that nothing answers.
      if (this.#lastError !== undefined) breaker.failed(own, this.#lastError);
      throw abortError(this.#signal);
    }
    this.#lastError = error;
    const patience = this.#patience;
    const isOver = this.#failures >= this.#retries && patience <= 0;
    if (isOver || !isRetryable(error) || isFromBreaker(error)) {
      breaker.failed(own, error);
      throw error;
    }
    observer?.retry(this.#registry, error.code);
    const delay = retryDelay(this.#failures, clock.random(), retryAfterOf(error));
    const wait = this.#failures < this.#retries ? delay : Math.min(delay, patience);
    this.#failures++;
    try {
      await clock.sleep(wait, { signal: this.#signal });
    } catch (sleepError) {
      breaker.failed(own, error);
      throwIfAborted(this.#signal);
      throw sleepError;
    }
  }

  /** Bytes arrived: failures are counted anew. */
  progressed(): void {
    this.#failures = 0;
    this.#progressedAt = this.#context.clock.monotonic();
  }

  /** Milliseconds left in which a body that broke off is tried again, whatever the number of retries. */
  get #patience(): number {
    if (this.#progressedAt === undefined) return 0;
    return this.#progressedAt + RESUME_PATIENCE - this.#context.clock.monotonic();
  }

  async #round<T>(work: (endpoint: Endpoint) => Promise<T>): Promise<T> {
    for (const endpoint of this.#endpoints) {
      if (this.#deadMirrors.has(endpoint)) continue;
      try {
        // A body that has begun to arrive goes on, whatever happened to other calls.
        if (!this.#hasSucceeded && this.#failures === 0) this.#context.breaker.check(endpoint.origin);
        const { clock, headerTimeout, slow } = this.#context;
        const began = clock.monotonic();
        const timeout = this.headerTimeout;
        const result = await work(endpoint);
        if (clock.monotonic() - began > headerTimeout) slow.answered(this.#registry, timeout);
        this.#hasSucceeded = true;
        this.#context.breaker.answered(endpoint.origin);
        return result;
      } catch (thrown) {
        const error = toWeirError(thrown);
        throwIfAborted(this.#signal);
        if (!endpoint.isMirror || error.code === 'internal') throw error;
        this.#deadMirrors.add(endpoint);
        this.#context.breaker.failed(endpoint.origin, error);
        this.#context.observer?.retry(this.#registry, error.code);
      }
    }
    throw new WeirError('internal', `${this.#registry} has no endpoint`);
  }
}

function isFromBreaker(error: WeirError): boolean {
  return error.detail['breaker'] !== undefined;
}
