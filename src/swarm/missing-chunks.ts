/**
 * Peers that did not send what they had said to have. One whose own pull has just ended, because the registry gave it
 * something wrong, has nothing any more, and its word of that is on its way. Who says nothing breaks a promise.
 */
import { SECOND } from '../util/clock.ts';
import type { PeerName } from '../protocol/peer-id.ts';
import { registryBlobId } from '../oci/registry-blob.ts';
import type { SwarmKey } from '../protocol/messages.ts';
import type { Scheduler } from './scheduler.ts';

/** Milliseconds for the word of a peer: it leaves as soon as the pull ends, and needs one way. */
const WORD_WITHIN: number = 1 * SECOND;
/** Doubts at a time; what is beyond is not held against anybody. */
const MAX_DOUBTS = 1024;

export class Doubts {
  readonly #scheduler: Pick<Scheduler, 'after'>;
  readonly #open: Map<string, () => void> = new Map();

  constructor(scheduler: Pick<Scheduler, 'after'>) {
    this.#scheduler = scheduler;
  }

  /** @param broken called where the peer says nothing in time */
  about(swarm: SwarmKey, peer: PeerName, broken: () => void): void {
    const key = keyOf(swarm, peer);
    if (this.#open.has(key) || this.#open.size >= MAX_DOUBTS) return;
    const stop = this.#scheduler.after(WORD_WITHIN, () => {
      this.#open.delete(key);
      broken();
    });
    this.#open.set(key, stop);
  }

  /** The peer says that it has nothing of this swarm any more. */
  settle(swarm: SwarmKey, peer: PeerName): void {
    if (this.#open.size === 0) return;
    const key = keyOf(swarm, peer);
    this.#open.get(key)?.();
    this.#open.delete(key);
  }
}

function keyOf(swarm: SwarmKey, peer: PeerName): string {
  return `${peer} ${registryBlobId(swarm)}`;
}
