/**
 * Which chunks this node fetches from upstream: those that it owns, and those whose claim an owner has granted it.
 * While it is alone in the swarm it fetches all of them, and on a stall the first missing one.
 */
import {
  UPSTREAM_HUNG_AFTER,
  STALLED_UPSTREAM_REQUESTS,
  STALL_ACKS,
  CLAIMS_WITHOUT_BYTES_HOLD,
  SOLO_UPSTREAM_REQUESTS,
  MAX_UPSTREAM_FAILURES,
  NO_ROUTE_HOLDS,
  NO_ROUTE_PATIENCE,
  THROTTLED_FETCH_GROUPS,
} from './parameters.ts';
import type { ChunkBytes } from '../util/content.ts';
import { hasNoRoute, isWeirError, type WeirError } from '../util/errors.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import { UpstreamRequests, type FetchLeave } from './upstream-requests.ts';
import { AdaptiveWindow } from './adaptive-window.ts';
import { between } from './scheduler.ts';
import type { FetchReason } from './environment.ts';
import type { SwarmState } from './swarm-state.ts';
export interface UpstreamFetcherEvents {
  arrived(index: number, bytes: ChunkBytes, release: () => void): void;
  /** The registry refuses for good, or has failed too often. */
  failed(error: WeirError): void;
  changed(): void;
}

export class UpstreamFetcher {
  readonly requests: UpstreamRequests;
  readonly #state: SwarmState;
  readonly #events: UpstreamFetcherEvents;
  readonly #window: AdaptiveWindow;
  /** Chunks granted to this node, or asked of it as their owner. */
  readonly #wanted: Map<number, FetchLeave> = new Map();
  #soloFetchGroup = 0.5;
  #wasAlone = false;
  #blockedUntil = 0;
  #failures = 0;
  #lastError: WeirError | undefined;
  /** When a request last found no way from this machine. */
  #noRouteAt = Number.NEGATIVE_INFINITY;

  constructor(state: SwarmState, events: UpstreamFetcherEvents) {
    const { parameters, scheduler } = state.environment;
    this.#state = state;
    this.#events = events;
    this.requests = new UpstreamRequests(state, {
      arrived: (index, bytes, release) => {
        this.#failures = 0;
        this.#lastError = undefined;
        this.#noRouteAt = Number.NEGATIVE_INFINITY;
        events.arrived(index, bytes, release);
      },
      released: (index) => {
        if (this.#wanted.get(index)?.granter !== undefined) this.#wanted.delete(index);
      },
      ended: (error) => {
        if (error !== undefined) this.#stumbled(error);
        events.changed();
      },
    });
    this.#window = new AdaptiveWindow(parameters.upstreamWindow, parameters.upstreamWindowMax, scheduler);
  }

  /** Upstream requests, begun or about to be. */
  get fetches(): number {
    let count = this.requests.size;
    for (const index of this.#wanted.keys()) if (!this.requests.has(index)) count++;
    return count;
  }

  /** How many chunks that have not entered the cluster may be fetched at a time; blobs pulled here share it. */
  get window(): number {
    const { parameters, requestWindow } = this.#state.environment;
    return Math.max(
      parameters.upstreamWindowMin,
      Math.ceil(this.#window.size / Math.max(1, requestWindow.users)),
    );
  }

  get isBlocked(): boolean {
    return this.blockedFor > 0;
  }

  /** Milliseconds until this node asks the registry again; 0: at once. */
  get blockedFor(): number {
    return Math.max(0, this.#blockedUntil - this.#state.now);
  }

  /** It fetches as much as an owner should, over all blobs: further chunks are left to the nodes that ask. */
  get isLaden(): boolean {
    const { peers, environment } = this.#state;
    const { requestWindow, parameters } = environment;
    const [share, least] = parameters.ownerFetches;
    const allowed = Math.max(least, Math.ceil((share * parameters.upstreamWindow) / (1 + peers.size)));
    return requestWindow.fetches >= Math.min(allowed, requestWindow.limit);
  }

  /** The registry refuses this node the blob. */
  get isRefused(): boolean {
    return this.#lastError !== undefined && !isTransient(this.#lastError);
  }

  /** This machine has no way to the registry. */
  get isCutOff(): boolean {
    return this.#state.now - this.#noRouteAt < NO_ROUTE_HOLDS;
  }

  isFetching(index: number): boolean {
    return this.requests.has(index) || this.#wanted.has(index);
  }

  /** An owner has granted this node the claim, or, without one, none answers or two attestations of the chunk differ. */
  granted(index: number, granter?: PeerId): void {
    this.#wanted.set(index, { granter });
  }

  /** A peer asks this node as the chunk's owner. */
  asked(index: number, token: string | undefined): void {
    const { self, swarm, options } = this.#state;
    const known = this.#wanted.get(index)?.token;
    if (options.claims.take(swarm, index, self))
      this.#wanted.set(index, { granter: self, token: token ?? known });
  }

  /** A chunk has entered the cluster. */
  entered(index: number): void {
    this.#window.entered();
    this.#wanted.delete(index);
  }

  pump(isAlone: boolean): void {
    if (this.#wasAlone && !isAlone) this.requests.leaveToOthers();
    this.#wasAlone = isAlone;
    const { room, layout } = this.#state;
    if (this.isBlocked || !room.hasRoom(layout.chunkSize)) return;
    // While a member has the whole blob, upstream is asked only on a stall.
    if (!this.#hasSeed) {
      if (isAlone) this.#solo();
      else this.#ownChunks();
    }
    this.#rescue();
    for (const [index, leave] of this.#wanted) {
      // Asked for, or granted, before it was known that one owner fetches all.
      const isOthers =
        this.#state.fetchesWhole && leave.granter !== undefined && !this.#state.isArbiter(index);
      if (this.#state.attested.has(index) || this.#state.have.has(index) || isOthers)
        this.#wanted.delete(index);
      else if (!this.requests.has(index)) this.#fetchGroup(index, 'claimed', leave);
    }
  }

  get #hasSeed(): boolean {
    for (const peer of this.#state.seeds) if (!this.#state.isSnubbed(peer)) return true;
    return false;
  }

  /** Alone: long requests one after the other, as if there were no swarm. */
  #solo(): void {
    const { have, layout, environment, owners } = this.#state;
    const { soloFetchGroup } = environment.parameters;
    // The next request begins with the last chunk of this one: two at once would only delay the first.
    if (!this.requests.areEnding) return;
    let index = have.firstClear();
    while (this.requests.size < SOLO_UPSTREAM_REQUESTS && index < layout.count) {
      if (this.requests.has(index)) {
        index = have.firstClear(index + 1);
        continue;
      }
      // Longer each time: chunks asked for when the first peer appears may be fetched by both.
      this.#soloFetchGroup = Math.min(soloFetchGroup, this.#soloFetchGroup * 2);
      const most = Math.max(this.#soloFetchGroup, owners.fetchGroup);
      let count = 1;
      while (count < most && this.#isFree(index + count)) count++;
      this.requests.begin(index, count, 'alone');
      index = have.firstClear(index + count);
    }
  }

  /** As owner, over the first chunks that have not entered the cluster. */
  #ownChunks(): void {
    const { have, swarm, absent, options } = this.#state;
    const { claims } = options;
    for (const index of this.#state.unattested(this.window)) {
      if (!this.#state.isArbiter(index) || this.requests.has(index) || have.has(index)) continue;
      const holder = claims.holder(swarm, index);
      if (holder !== undefined && !absent.has(holder)) this.#state.onHave(index, holder);
      else if (this.isLaden) return;
      else if (!this.#state.isClaimed(index)) this.#fetchGroup(index, 'owner');
    }
  }

  #fetchGroup(index: number, reason: FetchReason, leave?: FetchLeave): void {
    const { owners, layout } = this.#state;
    const end = Math.min(layout.count, owners.groupOf(index) + owners.fetchGroup);
    let count = 1;
    while (index + count < end && this.#isFree(index + count)) count++;
    this.requests.begin(index, count, reason, leave);
  }

  /** A stall over all blobs: this node fetches the next chunks itself, whatever others were to bring. */
  #rescue(): void {
    const { have, layout, now, lastProgress, lastByte, environment } = this.#state;
    const [least, most] = environment.parameters.stallToUpstream;
    const factor = Math.min(most, Math.max(least, STALL_ACKS * environment.rtt.ack.limit));
    const { requestWindow } = environment;
    // The request window is full, and bytes come: this blob waits for its turn.
    const isWaiting = !requestWindow.isFree && now - requestWindow.lastByte < factor;
    const doClaimsCount = now - lastByte < CLAIMS_WITHOUT_BYTES_HOLD;
    if ((isWaiting || now - lastProgress < factor) && doClaimsCount) return;
    const waited = doClaimsCount ? now - lastProgress - factor : now - lastByte - CLAIMS_WITHOUT_BYTES_HOLD;
    let index = have.firstClear();
    for (let i = 0; i < STALLED_UPSTREAM_REQUESTS && index < layout.count; i++) {
      // If all stall, because a chunk is lost, one is enough to fetch it.
      if (!this.isFetching(index) && this.#state.hasTurn(index, 1, waited))
        this.requests.begin(index, 1, 'rescue');
      index = have.firstClear(index + 1);
    }
  }

  #isFree(index: number): boolean {
    const { layout, have, attested } = this.#state;
    if (index >= layout.count || have.has(index) || attested.has(index)) return false;
    return !this.requests.has(index) && !this.#state.isClaimed(index);
  }

  #stumbled(error: WeirError): void {
    const { environment, owners, swarm } = this.#state;
    environment.observer.stumbled(swarm, error);
    this.#lastError = error;
    if (hasNoRoute(error)) this.#noRouteAt = this.#state.now;
    if (isWeirError(error, 'upstream_throttled', 'upstream_status')) {
      // Fewer, longer requests: all members learn the new group size with the next news.
      const [first, next] = THROTTLED_FETCH_GROUPS;
      owners.grow(owners.fetchGroup === 1 ? first : next);
      this.#window.throttled();
    }
    const after = between(environment.scheduler, environment.parameters.upstreamRetryBackoff);
    this.#blockedUntil = this.#state.now + after;
    // While bytes come from peers, a throttling registry is no reason to give up.
    const patience = this.isCutOff ? NO_ROUTE_PATIENCE : UPSTREAM_HUNG_AFTER;
    const isStuck =
      ++this.#failures >= MAX_UPSTREAM_FAILURES && this.#state.now - this.#state.lastByte > patience;
    if (isStuck || !isTransient(error)) this.#events.failed(error);
  }
}

/** Whether the next try may succeed. */
function isTransient(error: WeirError): boolean {
  return isWeirError(
    error,
    'upstream_throttled',
    'upstream_status',
    'upstream_unreachable',
    'upstream_timeout',
    'upstream_stalled',
    'upstream_cut',
  );
}
