/** HEAD where it is of use. Some registries do not have it, or have other rights for it: then GET decides. */
import { LRUCache } from 'lru-cache';
import { MINUTE, type Clock } from '../util/clock.ts';
import { isWeirError } from '../util/errors.ts';
import type { RegistryHost } from '../oci/repository.ts';

/** Registries that are remembered to refuse HEAD, and milliseconds for which they are. */
const MAX_HEADLESS = 256;
const HEADLESS_FOR = 10 * MINUTE;
/** From this status on a failure is one of overload: a GET would only add to it. */
const OVERLOAD = 502;

export class HeadOrGet {
  readonly #headless: LRUCache<RegistryHost, true>;

  constructor(clock: Pick<Clock, 'monotonic'>) {
    const perf = { now: (): number => clock.monotonic() };
    this.#headless = new LRUCache({ max: MAX_HEADLESS, ttl: HEADLESS_FOR, perf });
  }

  /** What HEAD says, unless it is refused. @throws WeirError what GET says then; a failure that is no refusal */
  async ask<T>(registry: RegistryHost, head: () => Promise<T>, get: () => Promise<T>): Promise<T> {
    if (!this.#headless.has(registry)) {
      try {
        return await head();
      } catch (error) {
        if (!isRefusal(error)) throw error;
      }
    }
    const answer = await get();
    this.#headless.set(registry, true);
    return answer;
  }
}

/** Whether the registry was reached and did not do what HEAD asks. A 401 is about the caller, whatever the method. */
function isRefusal(error: unknown): boolean {
  if (isWeirError(error, 'manifest_unknown', 'blob_unknown', 'upstream_denied')) return true;
  return isWeirError(error, 'upstream_status') && Number(error.detail['status']) < OVERLOAD;
}
