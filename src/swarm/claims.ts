/**
 * What a home does that does not pull the blob itself: it fetches nothing, but sees to it that one asker at a time
 * goes to the registry for a chunk, and sends the others to that one. So no byte passes through a node that has no
 * use for it, and no credential leaves the node whose runtime brought it.
 */
import { LRUCache } from 'lru-cache';
import { MINUTE, SECOND } from '../util/clock.ts';
import type { PeerName } from '../protocol/peer-id.ts';
import type { Scheduler } from './scheduler.ts';

/** Chunks of which somebody is remembered. */
const MAX_LEASES = 16_384;
/** Milliseconds for which an asker may be busy with a chunk before another one is sent: a slow line takes seconds. */
const LEASE: number = 5 * SECOND;
/** Milliseconds for which others are sent to the one who has it: its store may give the blob up. */
const DONE: number = 10 * MINUTE;

interface Lease {
  readonly holder: PeerName;
  /** Scheduler's milliseconds. */
  until: number;
  done: boolean;
}

export type LeaseAnswer =
  | { readonly kind: 'yours' }
  | { readonly kind: 'taken' }
  | { readonly kind: 'done'; readonly holder: PeerName };

export class Leases {
  /** Undefined before the first one: it takes half a MiB, and most nodes never need it. */
  #leases: LRUCache<string, Lease> | undefined;
  readonly #scheduler: Pick<Scheduler, 'now'>;
  readonly #isLive: (peer: PeerName) => boolean;

  constructor(scheduler: Pick<Scheduler, 'now'>, isLive: (peer: PeerName) => boolean) {
    this.#scheduler = scheduler;
    this.#isLive = isLive;
  }

  get size(): number {
    return this.#leases?.size ?? 0;
  }

  /** Whether nobody is remembered for anything. */
  get isEmpty(): boolean {
    return this.#leases === undefined;
  }

  ask(key: string, asker: PeerName): LeaseAnswer {
    const lease = this.current(key);
    if (lease !== undefined && lease.holder !== asker) {
      return lease.done ? { kind: 'done', holder: lease.holder } : { kind: 'taken' };
    }
    this.#set(key, asker);
    return { kind: 'yours' };
  }

  /** The peer has gone to the registry by itself: also where another one is said to have the chunk, but had not. */
  take(key: string, peer: PeerName): void {
    const lease = this.current(key);
    if (lease === undefined || lease.done || lease.holder === peer) this.#set(key, peer);
  }

  /** The peer leaves the chunk to others. */
  release(key: string, peer: PeerName): void {
    const lease = this.#leases?.get(key);
    if (lease?.holder === peer && !lease.done) this.#leases?.delete(key);
  }

  #set(key: string, holder: PeerName): void {
    this.#leases ??= new LRUCache({ max: MAX_LEASES });
    this.#leases.set(key, { holder, until: this.#scheduler.now() + LEASE, done: false });
  }

  /** Who is at the registry for it now, or has it. */
  current(key: string): Readonly<Lease> | undefined {
    const lease = this.#leases?.get(key);
    if (lease === undefined || !this.#isLive(lease.holder)) return undefined;
    return lease.until > this.#scheduler.now() ? lease : undefined;
  }

  /** Whether somebody is at the registry for it now. */
  isTaken(key: string): boolean {
    return this.current(key)?.done === false;
  }

  /** The holder says that it has the chunk. */
  done(key: string, holder: PeerName): void {
    const lease = this.#leases?.get(key);
    if (lease?.holder !== holder) return;
    lease.done = true;
    lease.until = this.#scheduler.now() + DONE;
  }
}
