/**
 * Which chunks this node fetches from upstream: those that it owns, and those whose claim an owner has granted it.
 * While it is alone in the swarm it fetches all of them, and on a stall the first missing one.
 */
import {
  UPSTREAM_HUNG_AFTER,
  OWNER_RANKS,
  STALLED_UPSTREAM_REQUESTS,
  STALL_ACKS,
  CLAIMS_WITHOUT_BYTES_HOLD,
  FIRST_CHUNK_DOUBLING,
  FIRST_CHUNK_CLAIM_HOLDS,
  SOLO_UPSTREAM_REQUESTS,
  MAX_UPSTREAM_FAILURES,
} from './parameters.ts';
import type { ChunkBytes } from '../util/content.ts';
import { isWeirError, type WeirError } from '../util/errors.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import { ClaimWindow } from './claim-window.ts';
import { ClaimQueries } from './claim-queries.ts';
import { MESSAGE_LIMITS, type SwarmMessage } from '../protocol/messages.ts';
import { UpstreamRequests } from './upstream-requests.ts';
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

/** A chunk that this node fetches because another member left it to it or asked for it. */
interface Want {
  /** Asked for by a peer that takes this node for the chunk's owner; else granted. */
  readonly asked: boolean;
  readonly token: string | undefined;
}

export class UpstreamFetcher {
  readonly requests: UpstreamRequests;
  readonly #state: SwarmState;
  readonly #events: UpstreamFetcherEvents;
  readonly #window: AdaptiveWindow;
  /** Chunks granted to this node, or asked of it as their owner, with a token that a peer delegated. */
  readonly #wanted: Map<number, Want> = new Map();
  readonly #claimQueries: ClaimQueries;
  readonly #claimWindow: ClaimWindow;
  readonly #began: number;
  #soloFetchGroup = 0.5;
  #wasAlone = false;
  #blockedUntil = 0;
  #failures = 0;
  #lastError: WeirError | undefined;

  constructor(state: SwarmState, events: UpstreamFetcherEvents) {
    const { parameters, scheduler } = state.environment;
    this.#state = state;
    this.#began = state.now;
    this.#events = events;
    this.#claimQueries = new ClaimQueries(state);
    this.#claimWindow = new ClaimWindow(state);
    this.requests = new UpstreamRequests(state, {
      arrived: (index, bytes, release) => {
        this.#failures = 0;
        this.#lastError = undefined;
        events.arrived(index, bytes, release);
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
    return this.#state.now < this.#blockedUntil;
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

  isFetching(index: number): boolean {
    return this.requests.has(index) || this.#wanted.has(index);
  }

  /** The owner has granted this node the claim, or two attestations of the chunk differ. */
  granted(index: number): void {
    this.#wanted.set(index, { asked: false, token: undefined });
  }

  /** A peer asks this node as the chunk's owner. */
  asked(index: number, token: string | undefined): void {
    const want = this.#wanted.get(index);
    this.#wanted.set(index, { asked: want?.asked ?? true, token: token ?? want?.token });
  }

  /** A chunk has entered the cluster. */
  entered(index: number): void {
    this.#window.entered();
    this.#wanted.delete(index);
    this.requests.landed(index);
    this.#claimQueries.settled(index);
    this.#claimWindow.entered(index);
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
    this.#rescueFirst();
    for (const [index, { asked, token }] of this.#wanted) {
      if (this.#state.attested.has(index) || this.#state.have.has(index)) this.#wanted.delete(index);
      else if (!this.requests.has(index) && (!asked || this.#isFirst(index))) {
        this.#fetchGroup(index, 'claimed', token);
      }
    }
  }

  get #hasSeed(): boolean {
    for (const peer of this.#state.seeds) if (!this.#state.isSnubbed(peer)) return true;
    return false;
  }

  peerGone(peer: PeerId): void {
    this.#claimQueries.gone(peer);
  }

  /** Whether this node is about to fetch the chunk, and ranks before `other` among its owners. */
  intends(index: number, other: PeerId): boolean {
    if (this.isBlocked || !this.#claimQueries.isOpen(index)) return false;
    const { owners, self } = this.#state;
    const theirs = owners.rankOf(index, other);
    return theirs < 0 || owners.rankOf(index, self) < theirs;
  }

  /** Whether no owner that ranks before this node fetches it: the peer that asks may know other members. */
  #isFirst(index: number): boolean {
    const rank = this.#state.owners.rankOf(index, this.#state.self);
    return rank === 0 || this.#claimQueries.mayFetch(index, rank < 0 ? OWNER_RANKS : rank);
  }

  claimState(from: PeerId, message: Extract<SwarmMessage, { kind: 'claim-state' }>): void {
    const { index, state } = message;
    const hasIt = this.#claimQueries.answered(from, message);
    if (state === 'fetching') this.#state.heard();
    if (hasIt === undefined && state === 'fetching') this.#state.claimed(index, from);
    if (state === 'none') this.#state.unclaimed(index, from);
    if (hasIt === true) {
      this.#state.onHave(index, from);
      this.entered(index);
    }
    this.#events.changed();
  }

  /** Alone: long requests one after the other, as if there were no swarm. */
  #solo(): void {
    const { have, layout, environment } = this.#state;
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
      let count = 1;
      while (count < this.#soloFetchGroup && this.#isFree(index + count)) count++;
      this.requests.begin(index, count, 'alone');
      index = have.firstClear(index + count);
    }
  }

  /** As owner or backup owner, over the first chunks that have not entered the cluster. */
  #ownChunks(): void {
    for (const index of this.#claimWindow.open(this.window)) {
      if (this.isLaden) return;
      if (this.requests.has(index) || this.#state.have.has(index) || this.#state.isClaimed(index)) continue;
      const rank = this.#claimWindow.rankDue(index);
      if (rank === undefined) continue;
      if (this.#claimQueries.mayFetch(index, rank)) this.#fetchGroup(index, rank === 0 ? 'owner' : 'backup');
    }
  }

  #fetchGroup(index: number, reason: FetchReason, token?: string): void {
    const { owners, layout } = this.#state;
    const end = Math.min(layout.count, owners.groupOf(index) + owners.fetchGroup);
    let count = 1;
    while (index + count < end && this.#isFree(index + count)) count++;
    this.requests.begin(index, count, reason, token);
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
    let index = have.firstClear();
    while (this.requests.size < STALLED_UPSTREAM_REQUESTS && index < layout.count) {
      const isComing = doClaimsCount && this.#state.isClaimed(index);
      if (!isComing && !this.isFetching(index)) this.requests.begin(index, 1, 'rescue');
      index = have.firstClear(index + 1);
    }
  }

  /**
   * Chunk 0 is overdue: its claimant has a slow link, or TCP starves it. One member fetches it despite that claim, and
   * twice as many every 0.5 s, until one announces that it has begun.
   */
  #rescueFirst(): void {
    const { have, now, owners, self, environment } = this.#state;
    const overdue = now - this.#began - environment.parameters.firstChunkTimeout;
    if (overdue < 0 || have.has(0) || this.isFetching(0) || this.#state.isReachable(0)) return;
    if (this.#state.isClaimedWithin(0, FIRST_CHUNK_CLAIM_HOLDS)) return;
    const before = environment.membership.live().length * owners.shareBefore(0, self);
    if (before < 2 ** (overdue / FIRST_CHUNK_DOUBLING)) this.requests.begin(0, 1, 'rescue');
  }

  #isFree(index: number): boolean {
    const { layout, have, attested } = this.#state;
    return index < layout.count && !have.has(index) && !attested.has(index) && !this.requests.has(index);
  }

  #stumbled(error: WeirError): void {
    const { environment, owners, swarm } = this.#state;
    environment.observer.stumbled(swarm, error);
    this.#lastError = error;
    if (isWeirError(error, 'upstream_throttled', 'upstream_status')) {
      // Fewer, longer requests: all members learn the new group size with the next news.
      owners.grow(owners.fetchGroup === 1 ? MESSAGE_LIMITS.fetchGroup / 2 : MESSAGE_LIMITS.fetchGroup);
      this.#window.throttled();
    }
    const after = between(environment.scheduler, environment.parameters.upstreamRetryBackoff);
    this.#blockedUntil = this.#state.now + after;
    // While bytes come from peers, a throttling registry is no reason to give up.
    const isStuck =
      ++this.#failures >= MAX_UPSTREAM_FAILURES &&
      this.#state.now - this.#state.lastByte > UPSTREAM_HUNG_AFTER;
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
