/**
 * The claims that an owner grants while it does not pull the blob itself. It fetches nothing: one asker at a time gets
 * the claim to fetch a chunk from upstream, and the others are sent to that claimant. So no byte passes through a node
 * that does not need it, and no credential leaves the node whose runtime brought it.
 */
import { MAX_CLAIMS, CLAIM_TIMEOUT, CLAIM_DONE_HOLDS } from './parameters.ts';
import { LRUCache } from 'lru-cache';
import type { PeerId } from '../protocol/peer-id.ts';
import type { Scheduler } from './scheduler.ts';

interface Claim {
  readonly holder: PeerId;
  /** Scheduler's milliseconds. */
  until: number;
  done: boolean;
}

export type ClaimAnswer =
  | { readonly kind: 'yours' }
  | { readonly kind: 'taken' }
  | { readonly kind: 'done'; readonly holder: PeerId };

export class Claims {
  /** Undefined before the first claim: the cache takes half a MiB, and most nodes never need it. */
  #claims: LRUCache<string, Claim> | undefined;
  readonly #scheduler: Pick<Scheduler, 'now'>;
  readonly #isLive: (peer: PeerId) => boolean;

  constructor(scheduler: Pick<Scheduler, 'now'>, isLive: (peer: PeerId) => boolean) {
    this.#scheduler = scheduler;
    this.#isLive = isLive;
  }

  get size(): number {
    return this.#claims?.size ?? 0;
  }

  /** Whether no claim was ever made. */
  get isEmpty(): boolean {
    return this.#claims === undefined;
  }

  ask(key: string, asker: PeerId): ClaimAnswer {
    const claim = this.current(key);
    if (claim !== undefined && claim.holder !== asker) {
      return claim.done ? { kind: 'done', holder: claim.holder } : { kind: 'taken' };
    }
    this.#set(key, asker);
    return { kind: 'yours' };
  }

  /** The peer fetches the chunk unasked; it also replaces a claimant that was said to have the chunk but lacks it. */
  take(key: string, peer: PeerId): void {
    const claim = this.current(key);
    if (claim === undefined || claim.done || claim.holder === peer) this.#set(key, peer);
  }

  /** The peer releases its claim. */
  release(key: string, peer: PeerId): void {
    const claim = this.#claims?.get(key);
    if (claim?.holder === peer && !claim.done) this.#claims?.delete(key);
  }

  #set(key: string, holder: PeerId): void {
    this.#claims ??= new LRUCache({ max: MAX_CLAIMS });
    this.#claims.set(key, { holder, until: this.#scheduler.now() + CLAIM_TIMEOUT, done: false });
  }

  /** The present claim: its holder fetches the chunk, or has it. */
  current(key: string): Readonly<Claim> | undefined {
    const claim = this.#claims?.get(key);
    if (claim === undefined || !this.#isLive(claim.holder)) return undefined;
    return claim.until > this.#scheduler.now() ? claim : undefined;
  }

  /** Whether a member is fetching it now. */
  isTaken(key: string): boolean {
    return this.current(key)?.done === false;
  }

  /** The claimant says that it has the chunk. */
  done(key: string, holder: PeerId): void {
    const claim = this.#claims?.get(key);
    if (claim?.holder !== holder) return;
    claim.done = true;
    claim.until = this.#scheduler.now() + CLAIM_DONE_HOLDS;
  }
}
