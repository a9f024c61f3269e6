/**
 * What owners ask each other before they fetch from upstream: two nodes may know different members for a while, and so
 * different owners. The owner asks its first backup; a backup owner asks those before it. A node waits only for a peer
 * that says that it is fetching: two owners that waited for each other would never end.
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
  readonly #queries: Map<number, ClaimQuery> = new Map();

  constructor(state: SwarmState) {
    this.#state = state;
  }

  /** Whether this node, of this rank, may fetch the chunk from upstream; asks the others if it does not know yet. */
  mayFetch(index: number, rank: number): boolean {
    const { owners, self, now, environment } = this.#state;
    const ranked = owners.of(index).map(({ peer }) => peer);
    const others = rank === 0 ? ranked.slice(1, 2) : ranked.slice(0, rank);
    const asked = others.filter((peer) => peer !== self && !this.#state.isSnubbed(peer));
    if (asked.length === 0) return true;
    const query = this.#queries.get(index);
    const isOld = query !== undefined && now - query.askedAt > environment.parameters.backupDelay;
    if (query === undefined || (query.waitUntil > 0 && isOld)) {
      this.#ask(index, asked, query?.waitUntil ?? 0);
      return false;
    }
    if (query.waitUntil > now) return false;
    // A backup owner waits longer: it is there for an owner that is dead, not for one that is slow to reply.
    const factor = environment.rtt.ack.limit * (rank === 0 ? 1 : BACKUP_WAIT_FACTOR);
    return query.none.size >= query.asked.length || now - query.askedAt > factor;
  }

  /** Whether others were asked about the chunk, and it has not entered the cluster since. */
  isOpen(index: number): boolean {
    return this.#queries.has(index);
  }

  /** @returns whether the peer has the chunk; undefined if it was not asked */
  answered(
    from: PeerId,
    { index, state }: Extract<SwarmMessage, { kind: 'claim-state' }>,
  ): boolean | undefined {
    const query = this.#queries.get(index);
    if (query === undefined || !query.asked.includes(from)) return undefined;
    if (state === 'fetching') query.waitUntil = this.#state.now + CLAIM_STATE_HOLDS;
    if (state === 'none') query.none.add(from);
    return state === 'have';
  }

  /** The peer cannot be reached: it counts as not fetching. */
  gone(peer: PeerId): void {
    for (const { asked, none } of this.#queries.values()) if (asked.includes(peer)) none.add(peer);
  }

  settled(index: number): void {
    this.#queries.delete(index);
  }

  #ask(index: number, asked: readonly PeerId[], waitUntil: number): void {
    const { now, environment, swarm } = this.#state;
    this.#queries.set(index, { askedAt: now, asked, none: new Set(), waitUntil });
    for (const peer of asked) environment.send(peer, { kind: 'claim-query', swarm, index });
  }
}
