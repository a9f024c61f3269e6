/**
 * What a home does that does not pull the blob itself: it fetches nothing, but sees to it that one asker at a time
 * goes to the registry for a chunk, and sends the others to that one. So no byte passes through a node that has no
 * use for it, and no credential leaves the node whose runtime brought it.
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
  /** Undefined before the first one: it takes half a MiB, and most nodes never need it. */
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

  /** Whether nobody is remembered for anything. */
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

  /** The peer has gone to the registry by itself: also where another one is said to have the chunk, but had not. */
  take(key: string, peer: PeerId): void {
    const claim = this.current(key);
    if (claim === undefined || claim.done || claim.holder === peer) this.#set(key, peer);
  }

  /** The peer leaves the chunk to others. */
  release(key: string, peer: PeerId): void {
    const claim = this.#claims?.get(key);
    if (claim?.holder === peer && !claim.done) this.#claims?.delete(key);
  }

  #set(key: string, holder: PeerId): void {
    this.#claims ??= new LRUCache({ max: MAX_CLAIMS });
    this.#claims.set(key, { holder, until: this.#scheduler.now() + CLAIM_TIMEOUT, done: false });
  }

  /** Who is at the registry for it now, or has it. */
  current(key: string): Readonly<Claim> | undefined {
    const claim = this.#claims?.get(key);
    if (claim === undefined || !this.#isLive(claim.holder)) return undefined;
    return claim.until > this.#scheduler.now() ? claim : undefined;
  }

  /** Whether somebody is at the registry for it now. */
  isTaken(key: string): boolean {
    return this.current(key)?.done === false;
  }

  /** The holder says that it has the chunk. */
  done(key: string, holder: PeerId): void {
    const claim = this.#claims?.get(key);
    if (claim?.holder !== holder) return;
    claim.done = true;
    claim.until = this.#scheduler.now() + CLAIM_DONE_HOLDS;
  }
}
