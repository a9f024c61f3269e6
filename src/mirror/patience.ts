/**
 * How long a request may wait for its first byte.
 *
 * A pull is a chain of requests, so waiting the full time for each of them would add up. A registry that has made
 * one request wait in vain gets little time for the next ones: the runtime goes on with it directly.
 */
import { LRUCache } from 'lru-cache';
import { MILLISECOND, SECOND, type Clock } from '../clock.ts';
import type { RegistryHost } from '../oci/repository.ts';

/** The wait while a registry is out of favour. */
const SHORT_WAIT: number = 250 * MILLISECOND;
/** How long it stays so after a wait in vain. */
const OUT_OF_FAVOUR: number = 10 * SECOND;
const MAX_REGISTRIES = 1_000;

export interface PatienceOptions {
  /** Milliseconds, for clients that go upstream by themselves. */
  readonly firstByteTimeout: number;
  /** Milliseconds, for clients that would fail the pull. */
  readonly patientTimeout: number;
  readonly clock: Clock;
}

export class Patience {
  readonly #options: PatienceOptions;
  readonly #outOfFavour: LRUCache<RegistryHost, true>;

  constructor(options: PatienceOptions) {
    this.#options = options;
    const perf = { now: (): number => options.clock.monotonic() };
    this.#outOfFavour = new LRUCache({ max: MAX_REGISTRIES, ttl: OUT_OF_FAVOUR, perf });
  }

  /** Milliseconds until the first byte, at most. */
  for(registry: RegistryHost, byPath: boolean): number {
    if (byPath) return this.#options.patientTimeout;
    return this.#outOfFavour.has(registry) ? SHORT_WAIT : this.#options.firstByteTimeout;
  }

  /** A request waited in vain. */
  lost(registry: RegistryHost): void {
    this.#outOfFavour.set(registry, true);
  }

  /** The registry answered. */
  restored(registry: RegistryHost): void {
    this.#outOfFavour.delete(registry);
  }
}
