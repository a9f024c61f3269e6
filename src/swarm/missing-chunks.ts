/**
 * Peers that did not send a chunk that they had announced. If the registry gave a peer wrong bytes, its pull has just
 * ended, it has nothing any more, and its `bye` is on its way. A peer that says nothing is blamed.
 */
import { MISSING_NOTICE_TIMEOUT, MAX_MISSING_CHUNKS } from './parameters.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import { registryBlobId } from '../oci/registry-blob.ts';
import type { SwarmKey } from '../protocol/messages.ts';
import type { Scheduler } from './scheduler.ts';

export class MissingChunks {
  readonly #scheduler: Pick<Scheduler, 'after'>;
  readonly #open: Map<string, () => void> = new Map();

  constructor(scheduler: Pick<Scheduler, 'after'>) {
    this.#scheduler = scheduler;
  }

  /** @param broken called if the peer says nothing in time */
  about(swarm: SwarmKey, peer: PeerId, broken: () => void): void {
    const key = keyOf(swarm, peer);
    if (this.#open.has(key) || this.#open.size >= MAX_MISSING_CHUNKS) return;
    const stop = this.#scheduler.after(MISSING_NOTICE_TIMEOUT, () => {
      this.#open.delete(key);
      broken();
    });
    this.#open.set(key, stop);
  }

  /** The peer says that it has nothing of this swarm any more. */
  settle(swarm: SwarmKey, peer: PeerId): void {
    if (this.#open.size === 0) return;
    const key = keyOf(swarm, peer);
    this.#open.get(key)?.();
    this.#open.delete(key);
  }
}

function keyOf(swarm: SwarmKey, peer: PeerId): string {
  return `${peer} ${registryBlobId(swarm)}`;
}
