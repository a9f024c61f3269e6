/**
 * Addresses where a peer may be: those of expired members (the other half of a partition), and those found by mDNS.
 * They are tried together with the bootstrap addresses.
 */
import { LRUCache } from 'lru-cache';
import type { Clock } from '../util/clock.ts';
import { CANDIDATE_AGE, MAX_CANDIDATES } from './limits.ts';

export class Candidates {
  readonly #addresses: LRUCache<string, true>;

  constructor(clock: Clock) {
    const perf = { now: (): number => clock.monotonic() };
    this.#addresses = new LRUCache({ max: MAX_CANDIDATES, ttl: CANDIDATE_AGE, perf });
  }

  add(addresses: readonly string[]): void {
    for (const address of addresses) this.#addresses.set(address, true);
  }

  addresses(): readonly string[] {
    return [...this.#addresses.keys()];
  }
}
