/**
 * Decides what a peer that asks for a chunk gets: an upload slot, a place in the queue, or another place to ask. As an
 * owner, a node also fetches a missing chunk, or grants the claim to the peer that asks (claims.ts).
 */
import type { PeerId } from '../protocol/peer-id.ts';
import { chunkId, type Claims } from './claims.ts';
import type { SwarmKey } from '../protocol/messages.ts';
import { registryBlobId } from '../oci/registry-blob.ts';
import { MAX_HOLDERS_NAMED, type Parameters } from './parameters.ts';
import { between, shuffle, type Scheduler } from './scheduler.ts';
import type { Swarm } from './swarm.ts';
import { UploadSlots } from './upload-slots.ts';

export interface UploadRequest {
  readonly from: PeerId;
  readonly swarm: SwarmKey;
  readonly index: number;
  /** The chunk can be sent from here. */
  readonly isHeld: boolean;
  /** Asked as the chunk's owner; with a token for the fetch if the peer delegated one. */
  readonly asOwner: boolean;
  readonly token: string | undefined;
}

export type UploadDecision =
  /** A slot is taken: send, then release it. */
  | { readonly kind: 'granted' }
  | { readonly kind: 'absent' }
  | { readonly kind: 'busy'; readonly load: number }
  | { readonly kind: 'retry'; readonly after: number }
  | { readonly kind: 'redirect'; readonly holders: readonly PeerId[] }
  | { readonly kind: 'unable' };

export interface UploaderOptions {
  readonly parameters: Parameters;
  readonly scheduler: Scheduler;
  readonly swarmOf: (swarm: SwarmKey) => Swarm | undefined;
  readonly claims: Claims;
}

interface Waiter {
  readonly decide: (decision: UploadDecision) => void;
}

export class Uploader {
  readonly slots: UploadSlots;
  readonly #options: UploaderOptions;
  /** Requests that wait for a chunk that this node, as its owner, is fetching. */
  readonly #waiting: Map<string, Set<Waiter>> = new Map();

  constructor(options: UploaderOptions) {
    const { parameters } = options;
    this.#options = options;
    this.slots = new UploadSlots(parameters.uploadSlots, parameters.uploadQueue);
  }

  /**
   * Calls `decide` once, now or later.
   * @param acknowledge called if the decision comes later
   * @returns the way to give up waiting
   */
  ask(
    uploadRequest: UploadRequest,
    acknowledge: () => void,
    decide: (decision: UploadDecision) => void,
  ): () => void {
    if (uploadRequest.isHeld) return this.#slot(acknowledge, decide);
    if (!uploadRequest.asOwner) {
      decide({ kind: 'absent' });
      return nothing;
    }
    const joined = this.#options.swarmOf(uploadRequest.swarm);
    if (joined !== undefined && !joined.state.have.has(uploadRequest.index)) {
      return this.#asOwner(joined, uploadRequest, acknowledge, decide);
    }
    decide(this.#claim(uploadRequest));
    return nothing;
  }

  /** The chunk is here: requests that wait for it get it while there are slots. */
  arrived(swarm: SwarmKey, index: number): void {
    if (this.#waiting.size === 0) return;
    const key = chunkId(swarm, index);
    const waiters = this.#waiting.get(key);
    this.#waiting.delete(key);
    for (const { decide } of waiters ?? []) {
      if (this.slots.hasRoom) this.slots.take(() => decide({ kind: 'granted' }));
      else decide(this.#retry());
    }
  }

  /** The swarm has ended: requests that wait are to go elsewhere. */
  ended(swarm: SwarmKey): void {
    const prefix = `${registryBlobId(swarm)} `;
    for (const [key, waiters] of this.#waiting) {
      if (!key.startsWith(prefix)) continue;
      this.#waiting.delete(key);
      for (const { decide } of waiters) decide(this.#retry());
    }
  }

  #slot(acknowledge: () => void, decide: (decision: UploadDecision) => void): () => void {
    const place = this.slots.take(() => decide({ kind: 'granted' }));
    if (place === undefined) decide({ kind: 'busy', load: this.slots.load });
    else if (!place.atOnce) acknowledge();
    return place?.leave ?? nothing;
  }

  #asOwner(
    joined: Swarm,
    { from, swarm, index, token }: UploadRequest,
    acknowledge: () => void,
    decide: (decision: UploadDecision) => void,
  ): () => void {
    if (joined.state.isLost(index)) joined.state.chunks.doubt(index);
    const holders = this.#holders(joined, index, from);
    if (holders.length > 0) {
      decide({ kind: 'redirect', holders });
      return nothing;
    }
    const { fetcher, state } = joined;
    if (!this.#mayFetch(joined, index, from)) {
      // If the registry throttles, only the owner tries again.
      decide(
        fetcher.isBlocked && !fetcher.isRefused
          ? this.#retry(fetcher.blockedFor)
          : this.#claim({ swarm, index, from }),
      );
      return nothing;
    }
    const key = chunkId(swarm, index);
    const waiters = this.#waiting.get(key) ?? new Set();
    if (waiters.size >= this.#options.parameters.ownerQueue || state.attested.has(index)) {
      decide(this.#retry());
      return nothing;
    }
    const waiter = { decide };
    waiters.add(waiter);
    this.#waiting.set(key, waiters);
    acknowledge();
    fetcher.asked(index, token);
    joined.pump();
    return () => void waiters.delete(waiter);
  }

  /** Whether this node fetches the chunk, or is to: nobody has the claim, and it has time for one more. */
  #mayFetch({ fetcher, state }: Swarm, index: number, asker: PeerId): boolean {
    if (fetcher.isBlocked) return false;
    const { claims } = this.#options;
    if (fetcher.isFetching(index)) return claims.isTaken(state.swarm, index, asker);
    return !fetcher.isLaden && !claims.isTaken(state.swarm, index, asker);
  }

  #holders(joined: Swarm, index: number, except: PeerId): readonly PeerId[] {
    const { otherHolders, peers, absent, swarm } = joined.state;
    const claimant = this.#options.claims.holder(swarm, index);
    const holders = [...(otherHolders.get(index) ?? []), ...peers.holdersOf(index)];
    if (claimant !== undefined && !absent.has(claimant) && holders.length === 0) holders.push(claimant);
    return shuffle(
      holders.filter((peer) => peer !== except),
      this.#options.scheduler,
    ).slice(0, MAX_HOLDERS_NAMED);
  }

  #claim({ swarm, index, from }: Pick<UploadRequest, 'from' | 'swarm' | 'index'>): UploadDecision {
    const { claims } = this.#options;
    const holder = claims.holder(swarm, index);
    if (holder !== undefined && holder !== from) return { kind: 'redirect', holders: [holder] };
    return claims.take(swarm, index, from) ? { kind: 'unable' } : this.#retry();
  }

  /** @param least milliseconds */
  #retry(least = 0): UploadDecision {
    const { scheduler, parameters } = this.#options;
    return { kind: 'retry', after: Math.round(least + between(scheduler, parameters.retryBackoff)) };
  }
}

function nothing(): void {
  // No wait to give up.
}
