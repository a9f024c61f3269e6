/** Requests for chunks of one blob that are under way at peers, within what the node may have under way at all. */
import { MAX_EXTRA_HEDGES } from './parameters.ts';
import type { WeirError } from '../util/errors.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import type { ChunkAnswer } from '../transfer/chunk-exchange.ts';
import { ChunkRequest, type ChunkRequestEvents, type RequestFailure, type Role } from './chunk-request.ts';
import type { WindowShare } from './request-window.ts';
import type { SwarmState } from './swarm-state.ts';

export interface ChunkRequesterEvents extends ChunkRequestEvents {
  /** One more may be asked for: another blob has given its place back. */
  changed(): void;
}

export class ChunkRequester {
  readonly #state: SwarmState;
  readonly #chunkRequests: Set<ChunkRequest> = new Set();
  readonly #share: WindowShare;
  readonly #chunkRequestEvents: ChunkRequestEvents;

  constructor(state: SwarmState, events: ChunkRequesterEvents) {
    this.#state = state;
    this.#share = state.environment.requestWindow.join(() => events.changed());
    this.#chunkRequestEvents = {
      answered: (chunkRequest: ChunkRequest, answer: ChunkAnswer) => {
        if (!this.#chunkRequests.has(chunkRequest)) return;
        if (answer.kind !== 'chunk') {
          this.#finish(chunkRequest);
          events.answered(chunkRequest, answer);
          return;
        }
        // Its bytes count until they are written.
        this.#finish(chunkRequest, false);
        const release = (): void => {
          answer.release?.();
          this.#giveRoom(chunkRequest);
        };
        events.answered(chunkRequest, { ...answer, release });
      },
      failed: (chunkRequest: ChunkRequest, failure: RequestFailure, error?: WeirError) => {
        if (this.#finish(chunkRequest)) events.failed(chunkRequest, failure, error);
      },
    };
  }

  /** Those under way, in the order of their beginnings. */
  get underWay(): ReadonlySet<ChunkRequest> {
    return this.#chunkRequests;
  }

  /** Whether one more may be asked for now. */
  get mayTake(): boolean {
    return this.#isBelowLimit && this.#share.mayTake(this.#chunkRequests.size);
  }

  /** Whether it would help to say {@link wants}, though none may be asked for now. */
  get mayWant(): boolean {
    return this.#isBelowLimit && this.#share.mayWant(this.#chunkRequests.size);
  }

  get #isBelowLimit(): boolean {
    const { environment, layout, room } = this.#state;
    return this.#chunkRequests.size < environment.requestWindow.limit && room.hasRoom(layout.chunkSize);
  }

  /** There is something to ask for, as soon as that may be. */
  wants(): void {
    this.#share.wants(this.#chunkRequests.size);
  }

  /** False where nothing was asked: the budget is spent, or the peer is no live member any more. */
  ask(peer: PeerId, index: number, role: Role): boolean {
    return this.#state.environment.requestWindow.take() && this.#begin(peer, index, role);
  }

  /** A second try at what one already waits for. False where even for that the budget is spent. */
  hedge(peer: PeerId, index: number): boolean {
    const { environment, layout, room } = this.#state;
    if (!room.hasRoom(layout.chunkSize) || !environment.requestWindow.take(MAX_EXTRA_HEDGES)) return false;
    this.#begin(peer, index, 'holder');
    return true;
  }

  /** Checks all time limits. */
  check(): void {
    const { now } = this.#state;
    for (const chunkRequest of Array.from(this.#chunkRequests)) chunkRequest.check(now);
  }

  drop(isDropped: (chunkRequest: ChunkRequest) => boolean): void {
    // The set may change meanwhile.
    for (const chunkRequest of Array.from(this.#chunkRequests)) {
      if (!isDropped(chunkRequest)) continue;
      chunkRequest.cancel();
      this.#finish(chunkRequest);
    }
  }

  stop(): void {
    this.#share.leave();
    this.drop(() => true);
  }

  /** With a place of the budget taken. */
  #begin(peer: PeerId, index: number, role: Role): boolean {
    const { environment, peers } = this.#state;
    const member = environment.membership.get(peer);
    // It may have been set aside since, and say again that it has all: nothing is asked of it until that is over.
    if (member === undefined || !environment.membership.isLive(peer)) {
      environment.requestWindow.release();
      this.#state.forget(peer);
      return false;
    }
    const swarmPeer = peers.get(peer);
    if (swarmPeer !== undefined) swarmPeer.outstanding++;
    this.#state.room.take(this.#state.layout.length(index));
    this.#chunkRequests.add(new ChunkRequest(this.#state, member, index, role, this.#chunkRequestEvents));
    return true;
  }

  /** @param givesRoom whether nothing of it is here */
  #finish(chunkRequest: ChunkRequest, givesRoom = true): boolean {
    if (!this.#chunkRequests.delete(chunkRequest)) return false;
    const swarmPeer = this.#state.peers.get(chunkRequest.peer);
    if (swarmPeer !== undefined) swarmPeer.outstanding = Math.max(0, swarmPeer.outstanding - 1);
    this.#state.environment.requestWindow.release();
    if (givesRoom) this.#giveRoom(chunkRequest);
    return true;
  }

  #giveRoom({ index }: ChunkRequest): void {
    this.#state.environment.room.give(this.#state.layout.length(index));
  }
}
