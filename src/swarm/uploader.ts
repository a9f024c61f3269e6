/**
 * What an asker gets: a slot to be sent the chunk, a place in the queue, or word where else to go. As home a node
 * also fetches what it has not got yet, or leaves that to the asker (claims.ts).
 */
import type { PeerName } from '../protocol/peer-id.ts';
import { Leases } from './claims.ts';
import type { SwarmKey } from '../protocol/messages.ts';
import { registryBlobId } from '../oci/registry-blob.ts';
import type { Parameters } from './parameters.ts';
import { between, shuffle, type Scheduler } from './scheduler.ts';
import type { Session } from './swarm.ts';
import { UploadSlots } from './upload-slots.ts';

/** Peers named to an asker. */
export const MAX_HOLDERS = 3;

export interface Question {
  readonly from: PeerName;
  readonly swarm: SwarmKey;
  readonly index: number;
  /** The chunk can be sent from here. */
  readonly isHere: boolean;
  /** Asked as the chunk's home; with a token to fetch it with, where the asker has one. */
  readonly asHome: boolean;
  readonly token: string | undefined;
}

export type Ruling =
  /** A slot is taken: send, then give it back. */
  | { readonly kind: 'granted' }
  | { readonly kind: 'absent' }
  | { readonly kind: 'busy'; readonly load: number }
  | { readonly kind: 'retry'; readonly after: number }
  | { readonly kind: 'redirect'; readonly holders: readonly PeerName[] }
  | { readonly kind: 'unable' };

export interface DeskOptions {
  readonly parameters: Parameters;
  readonly scheduler: Scheduler;
  readonly session: (swarm: SwarmKey) => Session | undefined;
  readonly isLive: (peer: PeerName) => boolean;
}

interface Waiter {
  readonly rule: (ruling: Ruling) => void;
}

export class Desk {
  readonly slots: UploadSlots;
  readonly leases: Leases;
  readonly #options: DeskOptions;
  /** Askers who wait for a chunk that this node, as its home, is fetching. */
  readonly #waiting: Map<string, Set<Waiter>> = new Map();

  constructor(options: DeskOptions) {
    const { parameters, scheduler, isLive } = options;
    this.#options = options;
    this.slots = new UploadSlots(parameters.uploadSlots, parameters.uploadQueue);
    this.leases = new Leases(scheduler, isLive);
  }

  /**
   * Calls `rule` once, now or later.
   * @param acknowledge called where it will be later
   * @returns the way to give up waiting
   */
  ask(question: Question, acknowledge: () => void, rule: (ruling: Ruling) => void): () => void {
    if (question.isHere) return this.#slot(acknowledge, rule);
    if (!question.asHome) {
      rule({ kind: 'absent' });
      return nothing;
    }
    const session = this.#options.session(question.swarm);
    if (session !== undefined && !session.state.here.has(question.index)) {
      return this.#asHome(session, question, acknowledge, rule);
    }
    rule(this.#lease(question));
    return nothing;
  }

  /** The chunk is here: those who wait for it get it, as far as there are slots. */
  arrived(swarm: SwarmKey, index: number): void {
    if (this.#waiting.size === 0) return;
    const key = chunkId(swarm, index);
    const waiters = this.#waiting.get(key);
    this.#waiting.delete(key);
    for (const { rule } of waiters ?? []) {
      if (this.slots.hasRoom) this.slots.take(() => rule({ kind: 'granted' }));
      else rule(this.#retry());
    }
  }

  /** The session is over: whoever waits is to go elsewhere. */
  ended(swarm: SwarmKey): void {
    const prefix = `${registryBlobId(swarm)} `;
    for (const [key, waiters] of this.#waiting) {
      if (!key.startsWith(prefix)) continue;
      this.#waiting.delete(key);
      for (const { rule } of waiters) rule(this.#retry());
    }
  }

  #slot(acknowledge: () => void, rule: (ruling: Ruling) => void): () => void {
    const place = this.slots.take(() => rule({ kind: 'granted' }));
    if (place === undefined) rule({ kind: 'busy', load: this.slots.load });
    else if (!place.atOnce) acknowledge();
    return place?.leave ?? nothing;
  }

  #asHome(
    session: Session,
    { from, swarm, index, token }: Question,
    acknowledge: () => void,
    rule: (ruling: Ruling) => void,
  ): () => void {
    if (session.state.isLost(index)) session.state.look(index);
    const holders = this.#holders(session, index, from);
    if (holders.length > 0) {
      rule({ kind: 'redirect', holders });
      return nothing;
    }
    if (session.duty.isBlocked) {
      // The registry asks for patience: one tries again for all, unless it refuses this node for good.
      rule(session.duty.isRefused ? { kind: 'unable' } : this.#retry());
      return nothing;
    }
    if (session.state.isPromised(index, from)) {
      rule(this.#retry()); // somebody else is at the registry for it
      return nothing;
    }
    if (session.duty.isLaden && !session.duty.isFetching(index)) {
      rule(this.#lease({ swarm, index, from }));
      return nothing;
    }
    const key = chunkId(swarm, index);
    const waiters = this.#waiting.get(key) ?? new Set();
    if (waiters.size >= this.#options.parameters.homeQueue || session.state.seen.has(index)) {
      rule(this.#retry());
      return nothing;
    }
    const waiter = { rule };
    waiters.add(waiter);
    this.#waiting.set(key, waiters);
    acknowledge();
    session.duty.asked(index, token);
    session.pump();
    return () => void waiters.delete(waiter);
  }

  #holders(session: Session, index: number, except: PeerName): readonly PeerName[] {
    const { elsewhere, neighbours } = session.state;
    const holders = [...(elsewhere.get(index) ?? []), ...neighbours.holdersOf(index)];
    return shuffle(
      holders.filter((peer) => peer !== except),
      this.#options.scheduler,
    ).slice(0, MAX_HOLDERS);
  }

  #lease({ swarm, index, from }: Pick<Question, 'from' | 'swarm' | 'index'>): Ruling {
    const answer = this.leases.ask(chunkId(swarm, index), from);
    if (answer.kind === 'yours') return { kind: 'unable' };
    return answer.kind === 'done' ? { kind: 'redirect', holders: [answer.holder] } : this.#retry();
  }

  #retry(): Ruling {
    const { scheduler, parameters } = this.#options;
    return { kind: 'retry', after: Math.round(between(scheduler, parameters.retry)) };
  }
}

export function chunkId(swarm: SwarmKey, index: number): string {
  return `${registryBlobId(swarm)} ${index}`;
}

function nothing(): void {
  // There is nothing to give up.
}
