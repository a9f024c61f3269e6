/**
 * Blobs that runtimes must fetch from their registry themselves for a while, because the mirror has failed with
 * them.
 */
import { LRUCache } from 'lru-cache';
import { MINUTE, SECOND, type Clock } from '../util/clock.ts';
import { isWeirError, WeirError } from '../util/errors.ts';
import { isOffline } from './access.ts';
import { registryBlobId, type RegistryBlob } from '../oci/registry-blob.ts';

/** Milliseconds for which a response that was cut is retried upstream. */
const HANDED_OVER_TTL = 1 * MINUTE;
/**
 * Milliseconds for which requests for a blob go upstream at once after its pull failed with all its tries. containerd
 * asks four times for a blob that breaks off at its start; all tries each time would add up.
 */
const FAILED_TTL = 10 * SECOND;
/** Milliseconds for which no byte of a blob goes out before all of it is right, after a pull of it was wrong. */
const WRONG_TTL = 10 * MINUTE;
/** Blobs that are remembered, for each of the reasons. */
const MAX_REMEMBERED = 1_000;

export class HandedOver {
  readonly #cut: LRUCache<string, true>;
  readonly #failed: LRUCache<string, WeirError>;
  readonly #wrong: LRUCache<string, true>;

  constructor(clock: Clock) {
    const perf = { now: (): number => clock.monotonic() };
    this.#cut = new LRUCache({ max: MAX_REMEMBERED, ttl: HANDED_OVER_TTL, perf });
    this.#failed = new LRUCache({ max: MAX_REMEMBERED, ttl: FAILED_TTL, perf });
    this.#wrong = new LRUCache({ max: MAX_REMEMBERED, ttl: WRONG_TTL, perf });
  }

  /** A response was cut short. */
  cut(blob: RegistryBlob): void {
    this.#cut.set(registryBlobId(blob), true);
  }

  /** A pull failed; it counts if the reason does not depend on the caller. */
  failed(blob: RegistryBlob, failure: WeirError): void {
    if (saysNothingOfCaller(failure)) this.#failed.set(registryBlobId(blob), failure);
  }

  /** The digest of received bytes was wrong. */
  wrong(blob: RegistryBlob): void {
    this.#wrong.set(registryBlobId(blob), true);
  }

  wasWrong(blob: RegistryBlob): boolean {
    return this.#wrong.has(registryBlobId(blob));
  }

  /** A runtime that goes on with a response that was cut does so upstream. @throws WeirError `handed_over` */
  checkResumed(blob: RegistryBlob): void {
    if (!this.#cut.has(registryBlobId(blob))) return;
    throw new WeirError('handed_over', `${blob.digest} was cut off: go on with it from upstream`);
  }

  /** @throws WeirError `handed_over` if a pull failed a moment ago */
  checkNew(blob: RegistryBlob): void {
    const cause = this.#failed.get(registryBlobId(blob));
    if (cause === undefined) return;
    const message = `a pull of ${blob.digest} failed a moment ago: ${cause.message}`;
    throw new WeirError('handed_over', message, { cause });
  }
}

/** Whether a pull failed in a way that would fail another caller, too. */
function saysNothingOfCaller(failure: WeirError): boolean {
  return (
    isOffline(failure) || isWeirError(failure, 'upstream_protocol', 'address_refused', 'digest_mismatch')
  );
}
