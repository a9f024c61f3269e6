/** Upstream requests that are under way, and the claims on their chunks. */
import { CLAIM_TIMEOUT, UPSTREAM_HUNG_AFTER } from './parameters.ts';
import { MIB, SECOND } from '../util/clock.ts';
import type { ChunkBytes } from '../util/content.ts';
import { WeirError } from '../util/errors.ts';
import type { FetchReason } from './environment.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import type { SwarmState } from './swarm-state.ts';

/** What a request is allowed by. */
export interface FetchLeave {
  /** The owner that granted the claim. */
  readonly granter?: PeerId | undefined;
  /** Delegated by a peer. */
  readonly token?: string | undefined;
}

export interface UpstreamRequestsEvents {
  arrived(index: number, bytes: ChunkBytes, release: () => void): void;
  /** A failed request has not brought the chunk, and the claim on it is released. */
  released(index: number): void;
  /** A request is over, with all its chunks or with an error. */
  ended(error: WeirError | undefined): void;
}

interface Request {
  readonly first: number;
  /** The owner that granted the claim; undefined: the chunks' owners are told. */
  readonly granter: PeerId | undefined;
  /** Fewer than asked for if the rest was left to others. */
  count: number;
  next: number;
  /** Bytes of the present chunk, and scheduler's milliseconds of its start. */
  bytes: number;
  since: number;
  /** Scheduler's milliseconds when its claims were taken or renewed last. */
  claimedAt: number;
  /** The same of its last byte. */
  movedAt: number;
  /** It is not read, for lack of room: it neither hangs nor lags. */
  isHeld: boolean;
  cancel: () => void;
}

export class UpstreamRequests {
  readonly #state: SwarmState;
  readonly #events: UpstreamRequestsEvents;
  readonly #requests: Set<Request> = new Set();
  /** Chunks that were begun anew: if all are slow, each restart only loses what has come. */
  readonly #restarted: Set<number> = new Set();

  constructor(state: SwarmState, events: UpstreamRequestsEvents) {
    this.#state = state;
    this.#events = events;
  }

  get size(): number {
    return this.#requests.size;
  }

  /** Whether each request has reached its last chunk. */
  get areEnding(): boolean {
    for (const { first, count, next } of this.#requests) if (next < first + count - 1) return false;
    return true;
  }

  /** Whether a request is for this chunk, or the chunk is being written. */
  has(index: number): boolean {
    if (this.#state.chunks.isWriting(index)) return true;
    for (const { first, count } of this.#requests) if (index >= first && index < first + count) return true;
    return false;
  }

  /** @param leave the owner that granted the claim, and a token that a peer delegated */
  begin(first: number, count: number, reason: FetchReason, leave: FetchLeave = {}): void {
    const { environment, swarm, now, self } = this.#state;
    const { granter, token } = leave;
    const isForAll = this.#state.fetchesWhole || count === this.#state.layout.count;
    environment.observer.fetching(swarm, first, count, reason);
    const request: Request = {
      first,
      granter,
      count,
      next: first,
      bytes: 0,
      since: now,
      claimedAt: now,
      movedAt: now,
      isHeld: false,
      cancel: nothing,
    };
    this.#requests.add(request);
    environment.requestWindow.fetches++;
    for (let index = first; index < first + count; index++) {
      this.#state.chunks.begin(index);
      // An owner that granted the first chunk has not granted the others of its group.
      if (granter === undefined || granter === self || index > first) this.#claim(index, granter, true);
    }
    request.cancel = this.#state.options.upstream.fetch(first, count, token, {
      progressed: (bytes) => {
        request.bytes += bytes;
        request.movedAt = this.#state.now;
        this.#state.progressed();
      },
      held: (isHeld) => {
        request.isHeld = isHeld;
        request.movedAt = request.since = this.#state.now;
      },
      chunk: (index, bytes, release) => {
        environment.rtt.upstream.observe((this.#state.now - request.since) * this.#perMiB(index));
        request.next = index + 1;
        request.bytes = 0;
        request.since = this.#state.now;
        this.#events.arrived(index, bytes, release);
        if (request.next < first + request.count || request.count === count) return;
        request.cancel(); // others fetch the rest
        this.#ended(request, undefined);
      },
      whole: () => {
        if (isForAll) return;
        request.cancel(); // the owner of all chunks asks once for them
        this.#release(request);
        this.#state.fetchWhole();
        this.#ended(request, undefined);
      },
      ended: (error) => this.#ended(request, error),
    });
  }

  /**
   * Renews claims while bytes come: on a slow link a chunk takes longer than a claim holds. A request that hangs is
   * given up, since nobody else would fetch its chunks. A request that lags far behind the others is begun anew: on a
   * full link TCP may starve a connection for as long as the others take.
   */
  tick(): void {
    const { now } = this.#state;
    for (const request of Array.from(this.#requests)) {
      if (request.isHeld) continue; // others may take it over once its claim has expired
      if (now - request.movedAt > UPSTREAM_HUNG_AFTER) {
        request.cancel();
        this.#ended(
          request,
          new WeirError('upstream_stalled', `no byte came for ${UPSTREAM_HUNG_AFTER / SECOND} s`),
        );
        continue;
      }
      if (this.#lags(request)) {
        this.#restarted.add(request.next);
        request.cancel();
        this.#ended(request, undefined);
        continue;
      }
      if (now - request.claimedAt < CLAIM_TIMEOUT / 2 || request.movedAt <= request.claimedAt) continue;
      request.claimedAt = now;
      for (let index = request.next; index < request.first + request.count; index++) {
        this.#claim(index, request.granter, true);
      }
    }
  }

  #lags({ next, bytes, since }: Request): boolean {
    const { now, layout, environment } = this.#state;
    const took = now - since;
    const isHalfHere = 2 * bytes >= layout.length(next);
    if (isHalfHere || took < environment.parameters.upstreamStallMin) return false;
    if (this.#state.isReachable(next)) return true; // a peer is quicker
    return took * this.#perMiB(next) > environment.rtt.upstream.limit && !this.#restarted.has(next);
  }

  /** Factor from the milliseconds of this chunk to those of a MiB. */
  #perMiB(index: number): number {
    return MIB / this.#state.layout.length(index);
  }

  /**
   * The first peer has appeared. Nodes that began at the same time, before they knew each other, fetch the same chunks:
   * each goes on with the chunks that it owns and with one that is half here, and releases the rest.
   */
  leaveToOthers(): void {
    const { owners, self, layout } = this.#state;
    for (const request of Array.from(this.#requests)) {
      const { first, next } = request;
      const end = first + request.count;
      if (next >= end) continue;
      let kept = 2 * request.bytes >= layout.length(next) ? next + 1 : next;
      while (kept < end && owners.rankOf(kept, self) === 0) kept++;
      for (let index = kept; index < end; index++) {
        this.#state.chunks.end(index);
        this.#claim(index, request.granter, false);
      }
      request.count = kept - first;
      if (kept > next) continue;
      request.cancel();
      this.#ended(request, undefined);
    }
  }

  /** Ends all requests and releases their claims, so that others can fetch at once. */
  stop(): void {
    for (const request of this.#requests) {
      request.cancel();
      this.#over(request);
      this.#release(request);
    }
    this.#requests.clear();
  }

  /** Takes or releases the claim on a chunk: at the owner that granted it, else at the first owner that answers. */
  #claim(index: number, granter: PeerId | undefined, held: boolean): void {
    const { self, environment, swarm, options } = this.#state;
    const owner = granter ?? this.#state.ownerOf(index);
    if (owner === undefined) return;
    if (owner !== self) environment.send(owner, { kind: 'claim', swarm, index, held });
    else if (held) options.claims.take(swarm, index, self);
    else options.claims.release(swarm, index, self);
  }

  #ended(request: Request, error: WeirError | undefined): void {
    if (!this.#requests.delete(request)) return;
    this.#over(request);
    // Its owner decides who tries again.
    if (error !== undefined) this.#release(request);
    this.#events.ended(error);
  }

  /** Releases the claims on what has not come. */
  #release({ first, next, count, granter }: Request): void {
    for (let index = next; index < first + count; index++) {
      this.#claim(index, granter, false);
      this.#events.released(index);
    }
  }

  #over({ first, count }: Request): void {
    this.#state.environment.requestWindow.fetches--;
    for (let index = first; index < first + count; index++) this.#state.chunks.end(index);
  }
}

function nothing(): void {
  // The request has not begun.
}
