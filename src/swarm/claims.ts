/**
 * The claims that this node grants as an owner, whether or not it pulls the blob: the one lock on fetching a chunk from
 * upstream. One member at a time has the claim, and renews it while bytes come. A claim that brings no chunk for long
 * is granted to one more member: its holder's link is slow, or TCP starves it.
 */
import { MAX_CLAIMS, CLAIM_DONE_HOLDS, CLAIM_OVERDUE, CLAIM_TIMEOUT } from './parameters.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import { registryBlobId } from '../oci/registry-blob.ts';
import type { SwarmKey } from '../protocol/messages.ts';
import type { Scheduler } from './scheduler.ts';

interface Claim {
  readonly holder: PeerId;
  /** Scheduler's milliseconds: of its grant, and of its end. */
  readonly since: number;
  readonly until: number;
  readonly done: boolean;
}

export class Claims {
  /** The oldest first. */
  readonly #claims: Map<string, Claim> = new Map();
  readonly #scheduler: Pick<Scheduler, 'now'>;
  readonly #isLive: (peer: PeerId) => boolean;

  constructor(scheduler: Pick<Scheduler, 'now'>, isLive: (peer: PeerId) => boolean) {
    this.#scheduler = scheduler;
    this.#isLive = isLive;
  }

  get size(): number {
    return this.#claims.size;
  }

  /**
   * Grants the claim to `peer`, or renews it, unless another member has it.
   * @returns whether `peer` has the claim now
   */
  take(swarm: SwarmKey, index: number, peer: PeerId): boolean {
    const claim = this.#current(swarm, index);
    if (claim !== undefined && claim.holder !== peer && !claim.done && !this.#isOverdue(claim)) return false;
    const now = this.#scheduler.now();
    // A claimant that asks again for a chunk that it had begins anew.
    const isRenewal = claim?.holder === peer && !claim.done;
    const since = isRenewal ? claim.since : now;
    this.#set(swarm, index, { holder: peer, since, until: now + CLAIM_TIMEOUT, done: false });
    return true;
  }

  /** The peer releases its claim. */
  release(swarm: SwarmKey, index: number, peer: PeerId): void {
    const id = chunkId(swarm, index);
    const claim = this.#claims.get(id);
    if (claim?.holder === peer && !claim.done) this.#claims.delete(id);
  }

  /** The peer says that it has the chunk. */
  done(swarm: SwarmKey, index: number, peer: PeerId): void {
    if (this.#claims.size === 0) return;
    const claim = this.#claims.get(chunkId(swarm, index));
    if (claim?.holder !== peer) return;
    const until = this.#scheduler.now() + CLAIM_DONE_HOLDS;
    this.#set(swarm, index, { ...claim, until, done: true });
  }

  /** The claimant that has the chunk. */
  holder(swarm: SwarmKey, index: number): PeerId | undefined {
    const claim = this.#current(swarm, index);
    return claim?.done === true ? claim.holder : undefined;
  }

  /** Whether a member other than `peer` is fetching the chunk, and is not overdue. */
  isTaken(swarm: SwarmKey, index: number, peer: PeerId): boolean {
    const claim = this.#current(swarm, index);
    return claim !== undefined && claim.holder !== peer && !claim.done && !this.#isOverdue(claim);
  }

  #isOverdue({ since }: Claim): boolean {
    return this.#scheduler.now() - since >= CLAIM_OVERDUE;
  }

  #current(swarm: SwarmKey, index: number): Claim | undefined {
    if (this.#claims.size === 0) return undefined;
    const claim = this.#claims.get(chunkId(swarm, index));
    if (claim === undefined || !this.#isLive(claim.holder)) return undefined;
    return claim.until > this.#scheduler.now() ? claim : undefined;
  }

  #set(swarm: SwarmKey, index: number, claim: Claim): void {
    const id = chunkId(swarm, index);
    this.#claims.delete(id); // the newest is last
    this.#claims.set(id, claim);
    const [oldest] = this.#claims.keys();
    if (this.#claims.size > MAX_CLAIMS && oldest !== undefined) this.#claims.delete(oldest);
  }
}

export function chunkId(swarm: SwarmKey, index: number): string {
  return `${registryBlobId(swarm)} ${index}`;
}
