/**
 * DHT searches that a tracker begins because a member announces itself in a swarm that is new to it. Each costs members
 * some milliseconds, so one member may cause only a few at a time. Further ones wait until a member announces itself in
 * that swarm again.
 */
import { MAX_SEARCHES_PER_MEMBER, MAX_PENDING_SEARCHES } from './parameters.ts';
import { LRUCache } from 'lru-cache';
import type { PeerId } from '../protocol/peer-id.ts';
import { registryBlobId } from '../oci/registry-blob.ts';
import type { SwarmKey } from '../protocol/messages.ts';

export type Find = (swarm: SwarmKey, found: (peers: readonly PeerId[]) => void) => void;

export class DhtSearches {
  readonly #find: Find;
  readonly #running: Map<PeerId, number> = new Map();
  readonly #owed: LRUCache<string, true> = new LRUCache({ max: MAX_PENDING_SEARCHES });

  constructor(find: Find) {
    this.#find = find;
  }

  /** Whether the search was put off, because the member that announced itself had too many under way. */
  isOwed(swarm: SwarmKey): boolean {
    return this.#owed.size > 0 && this.#owed.has(registryBlobId(swarm));
  }

  /** The search is made when a member announces itself in this swarm again. */
  putOff(swarm: SwarmKey): void {
    this.#owed.set(registryBlobId(swarm), true);
  }

  begin(swarm: SwarmKey, by: PeerId, found: (peers: readonly PeerId[]) => void): void {
    const running = this.#running.get(by) ?? 0;
    if (running >= MAX_SEARCHES_PER_MEMBER) return this.putOff(swarm);
    this.#owed.delete(registryBlobId(swarm));
    this.#running.set(by, running + 1);
    this.#find(swarm, (peers) => {
      const left = (this.#running.get(by) ?? 1) - 1;
      if (left > 0) this.#running.set(by, left);
      else this.#running.delete(by);
      found(peers);
    });
  }
}
