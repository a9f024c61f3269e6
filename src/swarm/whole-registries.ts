/**
 * Registries that answer a Range with the whole blob. Each chunk from there would cost all bytes before it, so one owner
 * fetches all chunks with one request: they are one group.
 */
import { LRUCache } from 'lru-cache';
import { MAX_WHOLE_REGISTRIES, WHOLE_REGISTRY_HOLDS } from './parameters.ts';
import type { RegistryHost } from '../oci/repository.ts';
import type { Scheduler } from './scheduler.ts';

export class WholeRegistries {
  readonly #registries: LRUCache<RegistryHost, true>;

  constructor(scheduler: Pick<Scheduler, 'now'>) {
    this.#registries = new LRUCache({
      max: MAX_WHOLE_REGISTRIES,
      ttl: WHOLE_REGISTRY_HOLDS,
      perf: scheduler,
    });
  }

  get size(): number {
    return this.#registries.size;
  }

  has(registry: RegistryHost): boolean {
    return this.#registries.size > 0 && this.#registries.has(registry);
  }

  add(registry: RegistryHost): void {
    this.#registries.set(registry, true);
  }
}
