/**
 * What homes ask each other before they go to the registry: two nodes' views of who is home may differ for a while.
 * Who is first in rank asks its stand-in, a stand-in asks those before it. One waits only for a peer that says that
 * it really is at the registry: two homes that waited for each other would never end.
 */
import { CLAIM_STATE_HOLDS, BACKUP_WAIT_FACTOR } from './parameters.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import type { SwarmMessage } from '../protocol/messages.ts';
import type { SwarmState } from './swarm-state.ts';

interface ClaimQuery {
  readonly askedAt: number;
  readonly asked: readonly PeerId[];
  readonly none: Set<PeerId>;
  waitUntil: number;
}

export class ClaimQueries {
  readonly #state: SwarmState;
  readonly #claimQueries: Map<number, ClaimQuery> = new Map();

  constructor(state: SwarmState) {
    this.#state = state;
  }

  /** Whether this node, of this rank, may go to the registry for the chunk; asks where that is not known yet. */
  mayFetch(index: number, rank: number): boolean {
    const { owners, self, now, environment } = this.#state;
    const ranked = owners.of(index).map(({ peer }) => peer);
    const others = rank === 0 ? ranked.slice(1, 2) : ranked.slice(0, rank);
    const asked = others.filter((peer) => peer !== self && !this.#state.isSnubbed(peer));
    if (asked.length === 0) return true;
    const uploadRequest = this.#claimQueries.get(index);
    const isOld =
      uploadRequest !== undefined && now - uploadRequest.askedAt > environment.parameters.backupDelay;
    if (uploadRequest === undefined || (uploadRequest.waitUntil > 0 && isOld)) {
      this.#ask(index, asked, uploadRequest?.waitUntil ?? 0);
      return false;
    }
    if (uploadRequest.waitUntil > now) return false;
    // A stand-in has more time than the home: it is there for a home that is dead, not for one that is slow to say so.
    const factor = environment.rtt.ack.limit * (rank === 0 ? 1 : BACKUP_WAIT_FACTOR);
    return uploadRequest.none.size >= uploadRequest.asked.length || now - uploadRequest.askedAt > factor;
  }

  /** Whether others were asked about the chunk, and what came of it is not known yet. */
  isOpen(index: number): boolean {
    return this.#claimQueries.has(index);
  }

  /** @returns whether the peer was asked, and has the chunk; undefined where it was not asked */
  answered(
    from: PeerId,
    { index, state }: Extract<SwarmMessage, { kind: 'claim-state' }>,
  ): boolean | undefined {
    const uploadRequest = this.#claimQueries.get(index);
    if (uploadRequest === undefined || !uploadRequest.asked.includes(from)) return undefined;
    if (state === 'fetching') uploadRequest.waitUntil = this.#state.now + CLAIM_STATE_HOLDS;
    if (state === 'none') uploadRequest.none.add(from);
    return state === 'have';
  }

  /** The peer cannot be reached: it is at nothing. */
  gone(peer: PeerId): void {
    for (const { asked, none } of this.#claimQueries.values()) if (asked.includes(peer)) none.add(peer);
  }

  settled(index: number): void {
    this.#claimQueries.delete(index);
  }

  #ask(index: number, asked: readonly PeerId[], waitUntil: number): void {
    const { now, environment, swarm } = this.#state;
    this.#claimQueries.set(index, { askedAt: now, asked, none: new Set(), waitUntil });
    for (const peer of asked) environment.send(peer, { kind: 'claim-query', swarm, index });
  }
}
