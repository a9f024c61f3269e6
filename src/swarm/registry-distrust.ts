/**
 * Members that are not believed about one registry: they attested a wrong hash, and say that the registry gave them
 * those bytes. That may be true, or a lie; nobody can tell. So the member is not believed about that registry for a
 * while, and keeps its place in everything else. A hostile registry can part members over its own images alone
 * (docs/adr/0009-signed-attestations.md).
 */
import { DISTRUST_LASTS, MAX_DISTRUSTED_PAIRS } from './parameters.ts';
import type { RegistryHost } from '../oci/repository.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import type { Scheduler } from './scheduler.ts';

export class RegistryDistrust {
  readonly #scheduler: Pick<Scheduler, 'now'>;
  /** Scheduler's milliseconds of the end of each. */
  readonly #until: Map<RegistryHost, Map<PeerId, number>> = new Map();
  #size = 0;

  constructor(scheduler: Pick<Scheduler, 'now'>) {
    this.#scheduler = scheduler;
  }

  /** Pairs that are remembered. */
  get size(): number {
    return this.#size;
  }

  has(registry: RegistryHost, peer: PeerId): boolean {
    const until = this.#until.get(registry)?.get(peer);
    return until !== undefined && until > this.#scheduler.now();
  }

  add(registry: RegistryHost, peer: PeerId): void {
    const peers = this.#until.get(registry) ?? new Map<PeerId, number>();
    if (!peers.delete(peer)) this.#size++;
    peers.set(peer, this.#scheduler.now() + DISTRUST_LASTS);
    // The registry with the newest pair is forgotten last.
    this.#until.delete(registry);
    this.#until.set(registry, peers);
    if (this.#size > MAX_DISTRUSTED_PAIRS) this.#dropOldest();
  }

  #dropOldest(): void {
    const [oldest] = this.#until;
    const [peer] = oldest?.[1].keys() ?? [];
    if (oldest === undefined || peer === undefined) return;
    const [registry, peers] = oldest;
    peers.delete(peer);
    this.#size--;
    if (peers.size === 0) this.#until.delete(registry);
  }
}
