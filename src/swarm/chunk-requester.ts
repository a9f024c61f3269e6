/** The requests of one blob that are under way at peers, within the node's request window. */
import { MAX_EXTRA_HEDGES } from './parameters.ts';
import type { WeirError } from '../util/errors.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import type { ChunkAnswer } from '../transfer/chunk-exchange.ts';
import { ChunkRequest, type ChunkRequestEvents, type RequestFailure, type Role } from './chunk-request.ts';
import type { WindowShare } from './request-window.ts';
import type { SwarmState } from './swarm-state.ts';

export interface ChunkRequesterEvents extends ChunkRequestEvents {
  /** One more may be asked for: another blob has released its place. */
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
          this.#releaseRoom(chunkRequest);
        };
        events.answered(chunkRequest, { ...answer, release });
      },
      failed: (chunkRequest: ChunkRequest, failure: RequestFailure, error?: WeirError) => {
        if (this.#finish(chunkRequest)) events.failed(chunkRequest, failure, error);
      },
    };
  }

  /** The requests under way, oldest first. */
  get underWay(): ReadonlySet<ChunkRequest> {
    return this.#chunkRequests;
  }

  /** Whether one more may be asked for now. */
  get mayTake(): boolean {
    return this.#isBelowLimit && this.#share.mayTake(this.#chunkRequests.size);
  }

  /** Whether {@link wants} would help, though none may be asked for now. */
  get mayWant(): boolean {
    return this.#isBelowLimit && this.#share.mayWant(this.#chunkRequests.size);
  }

  get #isBelowLimit(): boolean {
    const { environment, layout, room } = this.#state;
    return this.#chunkRequests.size < environment.requestWindow.limit && room.hasRoom(layout.chunkSize);
  }

  /** There is a chunk to ask for as soon as a place is free. */
  wants(): void {
    this.#share.wants(this.#chunkRequests.size);
  }

  /**
   * @param since scheduler's milliseconds since when the chunk is asked for, if not only now
   * @returns false if nothing was asked: the window is full, or the peer is no live member any more
   */
  ask(peer: PeerId, index: number, role: Role, since: number = this.#state.now): boolean {
    return this.#state.environment.requestWindow.take() && this.#begin(peer, index, role, since);
  }

  /** Asks a second peer for a chunk under way. @returns false if even the window for hedges is full */
  hedge(peer: PeerId, index: number, role: Role): boolean {
    const { environment, layout, room } = this.#state;
    if (!room.hasRoom(layout.chunkSize) || !environment.requestWindow.take(MAX_EXTRA_HEDGES)) return false;
    this.#begin(peer, index, role, this.#state.now);
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

  /** A place in the window is already taken. */
  #begin(peer: PeerId, index: number, role: Role, since: number): boolean {
    const { environment, peers } = this.#state;
    const member = environment.membership.get(peer);
    // A suspect may announce chunks again: nothing is asked of it until its suspicion ends.
    if (member === undefined || !environment.membership.isLive(peer)) {
      environment.requestWindow.release();
      this.#state.forget(peer);
      return false;
    }
    const swarmPeer = peers.get(peer);
    if (swarmPeer !== undefined) swarmPeer.outstanding++;
    this.#state.room.take(this.#state.layout.length(index));
    const chunkRequest = new ChunkRequest(this.#state, member, index, role, this.#chunkRequestEvents);
    chunkRequest.hedgedAt = since;
    this.#chunkRequests.add(chunkRequest);
    return true;
  }

  /** @param releasesRoom whether none of its bytes are here */
  #finish(chunkRequest: ChunkRequest, releasesRoom = true): boolean {
    if (!this.#chunkRequests.delete(chunkRequest)) return false;
    const swarmPeer = this.#state.peers.get(chunkRequest.peer);
    if (swarmPeer !== undefined) swarmPeer.outstanding = Math.max(0, swarmPeer.outstanding - 1);
    this.#state.environment.requestWindow.release();
    if (releasesRoom) this.#releaseRoom(chunkRequest);
    return true;
  }

  #releaseRoom({ index }: ChunkRequest): void {
    this.#state.environment.room.give(this.#state.layout.length(index));
  }
}
