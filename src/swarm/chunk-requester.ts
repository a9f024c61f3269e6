/** Requests for chunks of one blob that are under way at peers, within what the node may have under way at all. */
import type { WeirError } from '../util/errors.ts';
import type { PeerName } from '../protocol/peer-id.ts';
import type { PieceAnswer } from '../transfer/chunk-exchange.ts';
import { Asking, type AskingEvents, type Lapse, type Role } from './chunk-request.ts';
import type { BudgetShare } from './request-window.ts';
import type { SwarmState } from './swarm-state.ts';

/** Requests beyond the budget that may be second tries. */
const EXTRA_HEDGES = 2;

export interface PeerRequestsEvents extends AskingEvents {
  /** One more may be asked for: another blob has given its place back. */
  changed(): void;
}

export class PeerRequests {
  readonly #state: SwarmState;
  readonly #askings: Set<Asking> = new Set();
  readonly #share: BudgetShare;
  readonly #askingEvents: AskingEvents;

  constructor(state: SwarmState, events: PeerRequestsEvents) {
    this.#state = state;
    this.#share = state.environment.budget.join(() => events.changed());
    this.#askingEvents = {
      answered: (asking: Asking, answer: PieceAnswer) => {
        if (!this.#askings.has(asking)) return;
        if (answer.kind !== 'piece') {
          this.#finish(asking);
          events.answered(asking, answer);
          return;
        }
        // Its bytes count until they are written.
        this.#finish(asking, false);
        const release = (): void => {
          answer.release?.();
          this.#giveRoom(asking);
        };
        events.answered(asking, { ...answer, release });
      },
      lapsed: (asking: Asking, lapse: Lapse, error?: WeirError) => {
        if (this.#finish(asking)) events.lapsed(asking, lapse, error);
      },
    };
  }

  /** Those under way, in the order of their beginnings. */
  get underWay(): ReadonlySet<Asking> {
    return this.#askings;
  }

  /** Whether one more may be asked for now. */
  get mayTake(): boolean {
    return this.#isBelowLimit && this.#share.mayTake(this.#askings.size);
  }

  /** Whether it would help to say {@link wants}, though none may be asked for now. */
  get mayWant(): boolean {
    return this.#isBelowLimit && this.#share.mayWant(this.#askings.size);
  }

  get #isBelowLimit(): boolean {
    const { environment, layout, room } = this.#state;
    return this.#askings.size < environment.budget.limit && room.hasRoom(layout.chunkSize);
  }

  /** There is something to ask for, as soon as that may be. */
  wants(): void {
    this.#share.wants(this.#askings.size);
  }

  /** False where nothing was asked: the budget is spent, or the peer is no live member any more. */
  ask(peer: PeerName, index: number, role: Role): boolean {
    return this.#state.environment.budget.take() && this.#begin(peer, index, role);
  }

  /** A second try at what one already waits for. False where even for that the budget is spent. */
  hedge(peer: PeerName, index: number): boolean {
    const { environment, layout, room } = this.#state;
    if (!room.hasRoom(layout.chunkSize) || !environment.budget.take(EXTRA_HEDGES)) return false;
    this.#begin(peer, index, 'holder');
    return true;
  }

  /** Checks all time limits. */
  check(): void {
    const { now } = this.#state;
    for (const asking of Array.from(this.#askings)) asking.check(now);
  }

  drop(isDropped: (asking: Asking) => boolean): void {
    // The set may change meanwhile.
    for (const asking of Array.from(this.#askings)) {
      if (!isDropped(asking)) continue;
      asking.cancel();
      this.#finish(asking);
    }
  }

  stop(): void {
    this.#share.leave();
    this.drop(() => true);
  }

  /** With a place of the budget taken. */
  #begin(peer: PeerName, index: number, role: Role): boolean {
    const { environment, neighbours } = this.#state;
    const member = environment.membership.get(peer);
    // It may have been set aside since, and say again that it has all: nothing is asked of it until that is over.
    if (member === undefined || !environment.membership.isLive(peer)) {
      environment.budget.give();
      this.#state.forget(peer);
      return false;
    }
    const neighbour = neighbours.get(peer);
    if (neighbour !== undefined) neighbour.outstanding++;
    this.#state.room.take(this.#state.layout.length(index));
    this.#askings.add(new Asking(this.#state, member, index, role, this.#askingEvents));
    return true;
  }

  /** @param givesRoom whether nothing of it is here */
  #finish(asking: Asking, givesRoom = true): boolean {
    if (!this.#askings.delete(asking)) return false;
    const neighbour = this.#state.neighbours.get(asking.peer);
    if (neighbour !== undefined) neighbour.outstanding = Math.max(0, neighbour.outstanding - 1);
    this.#state.environment.budget.give();
    if (givesRoom) this.#giveRoom(asking);
    return true;
  }

  #giveRoom({ index }: Asking): void {
    this.#state.environment.room.give(this.#state.layout.length(index));
  }
}
