/** Blobs that runtimes are to fetch from their registry themselves for a while: the mirror had its chance. */
import { LRUCache } from 'lru-cache';
import { MINUTE, SECOND, type Clock } from '../util/clock.ts';
import { WeirError } from '../util/errors.ts';
import { registryBlobId, type RegistryBlob } from '../oci/registry-blob.ts';

/** After a response was cut, retries of it go upstream for this long. */
const HANDED_OVER_TTL = 1 * MINUTE;
/**
 * After a pull failed with all its tries, other requests for the blob go upstream at once for this long. containerd asks
 * four times for a blob that breaks off at its start; going through all tries each time would add up.
 */
const FAILED_TTL = 10 * SECOND;
/** Blobs that are remembered for either reason. */
const MAX_REMEMBERED = 1_000;

export class HandedOver {
  readonly #cut: LRUCache<string, true>;
  readonly #failed: LRUCache<string, WeirError>;

  constructor(clock: Clock) {
    const perf = { now: (): number => clock.monotonic() };
    this.#cut = new LRUCache({ max: MAX_REMEMBERED, ttl: HANDED_OVER_TTL, perf });
    this.#failed = new LRUCache({ max: MAX_REMEMBERED, ttl: FAILED_TTL, perf });
  }

  /** A response was cut short. */
  cut(blob: RegistryBlob): void {
    this.#cut.set(registryBlobId(blob), true);
  }

  /** A pull failed in a way that says nothing about who asked. */
  failed(blob: RegistryBlob, failure: WeirError): void {
    this.#failed.set(registryBlobId(blob), failure);
  }

  /** Whoever goes on with a response that was cut does so upstream. @throws WeirError `handed_over` */
  checkResumed(blob: RegistryBlob): void {
    if (!this.#cut.has(registryBlobId(blob))) return;
    throw new WeirError('handed_over', `${blob.digest} was cut off: go on with it from upstream`);
  }

  /** @throws WeirError `handed_over` where a pull failed a moment ago */
  checkNew(blob: RegistryBlob): void {
    const cause = this.#failed.get(registryBlobId(blob));
    if (cause === undefined) return;
    const message = `a pull of ${blob.digest} failed a moment ago: ${cause.message}`;
    throw new WeirError('handed_over', message, { cause });
  }
}
