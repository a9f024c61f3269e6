/**
 * What homes ask each other before they go to the registry: two nodes' views of who is home may differ for a while.
 * Who is first in rank asks its stand-in, a stand-in asks those before it. One waits only for a peer that says that
 * it really is at the registry: two homes that waited for each other would never end.
 */
import type { PeerName } from '../protocol/peer-id.ts';
import type { SwarmMessage } from '../protocol/messages.ts';
import type { SwarmState } from './swarm-state.ts';

/** Milliseconds for which another home's word "I am fetching it" holds. */
const FETCHING_HOLDS = 500;

const STAND_IN_PATIENCE = 3;

interface Question {
  readonly askedAt: number;
  readonly asked: readonly PeerName[];
  readonly none: Set<PeerName>;
  waitUntil: number;
}

export class HomeQuestions {
  readonly #state: SwarmState;
  readonly #questions: Map<number, Question> = new Map();

  constructor(state: SwarmState) {
    this.#state = state;
  }

  /** Whether this node, of this rank, may go to the registry for the chunk; asks where that is not known yet. */
  mayFetch(index: number, rank: number): boolean {
    const { homes, self, now, environment } = this.#state;
    const ranked = homes.of(index).map(({ peer }) => peer);
    const others = rank === 0 ? ranked.slice(1, 2) : ranked.slice(0, rank);
    const asked = others.filter((peer) => peer !== self && !this.#state.isMute(peer));
    if (asked.length === 0) return true;
    const question = this.#questions.get(index);
    const isOld = question !== undefined && now - question.askedAt > environment.parameters.takeover;
    if (question === undefined || (question.waitUntil > 0 && isOld)) {
      this.#ask(index, asked, question?.waitUntil ?? 0);
      return false;
    }
    if (question.waitUntil > now) return false;
    // A stand-in has more time than the home: it is there for a home that is dead, not for one that is slow to say so.
    const patience = environment.pace.ack.limit * (rank === 0 ? 1 : STAND_IN_PATIENCE);
    return question.none.size >= question.asked.length || now - question.askedAt > patience;
  }

  /** Whether others were asked about the chunk, and what came of it is not known yet. */
  isOpen(index: number): boolean {
    return this.#questions.has(index);
  }

  /** @returns whether the peer was asked, and has the chunk; undefined where it was not asked */
  answered(
    from: PeerName,
    { index, state }: Extract<SwarmMessage, { kind: 'origin-state' }>,
  ): boolean | undefined {
    const question = this.#questions.get(index);
    if (question === undefined || !question.asked.includes(from)) return undefined;
    if (state === 'fetching') question.waitUntil = this.#state.now + FETCHING_HOLDS;
    if (state === 'none') question.none.add(from);
    return state === 'have';
  }

  /** The peer cannot be reached: it is at nothing. */
  gone(peer: PeerName): void {
    for (const { asked, none } of this.#questions.values()) if (asked.includes(peer)) none.add(peer);
  }

  settled(index: number): void {
    this.#questions.delete(index);
  }

  #ask(index: number, asked: readonly PeerName[], waitUntil: number): void {
    const { now, environment, swarm } = this.#state;
    this.#questions.set(index, { askedAt: now, asked, none: new Set(), waitUntil });
    for (const peer of asked) environment.send(peer, { kind: 'ask-origin', swarm, index });
  }
}
