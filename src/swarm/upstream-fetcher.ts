/**
 * What this node fetches from the registry: the chunks whose home it is, those that their home leaves to it, all of
 * them while it is alone in the swarm, and the first missing one when nothing else moves.
 */
import { SECOND } from '../util/clock.ts';
import { isWeirError, type WeirError } from '../util/errors.ts';
import type { PeerName } from '../protocol/peer-id.ts';
import { DutyWindow } from './claim-window.ts';
import { HomeQuestions } from './claim-queries.ts';
import { HOME_RANKS } from './chunk-owners.ts';
import { MESSAGE_LIMITS, type SwarmMessage } from '../protocol/messages.ts';
import { HUNG, OriginRequests } from './upstream-requests.ts';
import { OriginWindow } from './adaptive-window.ts';
import { between } from './scheduler.ts';
import type { FetchReason } from './environment.ts';
import type { SwarmState } from './swarm-state.ts';

/** Requests to the registry that go on side by side where nothing else moves. */
const RESCUE_FETCHES = 2;
/** Where answers take long, nothing moving for a while means little. */
const RESCUE_ACKS = 3;
/** Milliseconds for which the words of others are enough; then bytes are wanted, whatever they say. */
const WORDS_HOLD: number = 15 * SECOND;
/** Milliseconds within which twice as many go for an overdue first chunk, and for which the last one's word holds. */
const FIRST_DOUBLES: number = SECOND / 2;
const FIRST_AGAIN: number = 4 * SECOND;
/** Requests side by side of a node that is alone: one that ends, one that begins. */
const SOLO_FETCHES = 2;
/** Failures in a row after which the registry is given up, unless bytes come from somewhere. */
const MAX_FAILURES = 5;
export interface OriginDutyEvents {
  arrived(index: number, bytes: Uint8Array, release: () => void): void;
  /** The registry refuses for good, or has failed too often. */
  failed(error: WeirError): void;
  changed(): void;
}

/** A chunk that is to be fetched for others' sake. */
interface Want {
  /** By a peer that takes this node for the chunk's home. */
  readonly asked: boolean;
  readonly token: string | undefined;
}

export class OriginDuty {
  readonly requests: OriginRequests;
  readonly #state: SwarmState;
  readonly #events: OriginDutyEvents;
  readonly #window: OriginWindow;
  /** Chunks that peers leave to this node or want from it as their home, with a token that one of them delegated. */
  readonly #wanted: Map<number, Want> = new Map();
  readonly #questions: HomeQuestions;
  readonly #dutyWindow: DutyWindow;
  readonly #began: number;
  #soloExtent = 0.5;
  #wasAlone = false;
  #blockedUntil = 0;
  #failures = 0;
  #lastError: WeirError | undefined;

  constructor(state: SwarmState, events: OriginDutyEvents) {
    const { parameters, scheduler } = state.environment;
    this.#state = state;
    this.#began = state.now;
    this.#events = events;
    this.#questions = new HomeQuestions(state);
    this.#dutyWindow = new DutyWindow(state);
    this.requests = new OriginRequests(state, {
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
    this.#window = new OriginWindow(parameters.originWindow, parameters.originWindowMax, scheduler);
  }

  /** Requests to the registry, begun or about to be. */
  get fetches(): number {
    let count = this.requests.size;
    for (const index of this.#wanted.keys()) if (!this.requests.has(index)) count++;
    return count;
  }

  /** Chunks that have not entered the cluster and may be fetched at a time; blobs that are pulled here share it. */
  get window(): number {
    const { parameters, budget } = this.#state.environment;
    return Math.max(parameters.originWindowLeast, Math.ceil(this.#window.size / Math.max(1, budget.users)));
  }

  get isBlocked(): boolean {
    return this.#state.now < this.#blockedUntil;
  }

  /** It fetches as much as a home should, over all blobs: the rest is better left to whoever asks for it. */
  get isLaden(): boolean {
    const { neighbours, environment } = this.#state;
    const { budget, parameters } = environment;
    const [share, least] = parameters.homeFetches;
    const allowed = Math.max(least, Math.ceil((share * parameters.originWindow) / (1 + neighbours.size)));
    return budget.fetches >= Math.min(allowed, budget.limit);
  }

  /** The registry will not give this node the blob. */
  get isRefused(): boolean {
    return this.#lastError !== undefined && !isPassing(this.#lastError);
  }

  isFetching(index: number): boolean {
    return this.requests.has(index) || this.#wanted.has(index);
  }

  /** The home leaves the chunk to this node, or two members contradict each other about it. */
  entrust(index: number): void {
    this.#wanted.set(index, { asked: false, token: undefined });
  }

  /** A peer asks this node as the chunk's home. */
  asked(index: number, token: string | undefined): void {
    const want = this.#wanted.get(index);
    this.#wanted.set(index, { asked: want?.asked ?? true, token: token ?? want?.token });
  }

  /** A chunk has entered the cluster. */
  entered(index: number): void {
    this.#window.entered();
    this.#wanted.delete(index);
    this.requests.landed(index);
    this.#questions.settled(index);
    this.#dutyWindow.entered(index);
  }

  pump(isAlone: boolean): void {
    if (this.#wasAlone && !isAlone) this.requests.leaveToOthers();
    this.#wasAlone = isAlone;
    const { room, layout } = this.#state;
    if (this.isBlocked || !room.hasRoom(layout.chunkSize)) return;
    // Where somebody has all of it, the registry is asked only when nothing comes from there.
    if (!this.#hasSeed) {
      if (isAlone) this.#solo();
      else this.#duty();
    }
    this.#rescue();
    this.#rescueFirst();
    for (const [index, { asked, token }] of this.#wanted) {
      if (this.#state.seen.has(index) || this.#state.here.has(index)) this.#wanted.delete(index);
      else if (!this.requests.has(index) && (!asked || this.#isFirst(index))) {
        this.#fetchGroup(index, 'entrusted', token);
      }
    }
  }

  get #hasSeed(): boolean {
    for (const peer of this.#state.seeds) if (!this.#state.isMute(peer)) return true;
    return false;
  }

  peerGone(peer: PeerName): void {
    this.#questions.gone(peer);
  }

  /** Whether this node is about to fetch the chunk, and comes before `other` among its homes. */
  intends(index: number, other: PeerName): boolean {
    if (this.isBlocked || !this.#questions.isOpen(index)) return false;
    const { homes, self } = this.#state;
    const theirs = homes.rankOf(index, other);
    return theirs < 0 || homes.rankOf(index, self) < theirs;
  }

  /** Whether no home before this node is at it: who asks may see other members than this node does. */
  #isFirst(index: number): boolean {
    const rank = this.#state.homes.rankOf(index, this.#state.self);
    return rank === 0 || this.#questions.mayFetch(index, rank < 0 ? HOME_RANKS : rank);
  }

  originState(from: PeerName, message: Extract<SwarmMessage, { kind: 'origin-state' }>): void {
    const { index, state } = message;
    const hasIt = this.#questions.answered(from, message);
    if (state === 'fetching') this.#state.heard();
    if (hasIt === undefined && state === 'fetching') this.#state.promise(index, from);
    if (state === 'none') this.#state.unpromise(index, from);
    if (hasIt === true) {
      this.#state.told(index, from);
      this.entered(index);
    }
    this.#events.changed();
  }

  /** Alone: long requests one behind the other, as if there were no swarm. */
  #solo(): void {
    const { here, layout, environment } = this.#state;
    const { soloExtent } = environment.parameters;
    // The next request begins when the last chunk of this one is on its way: two at once would only delay the first.
    if (!this.requests.areEnding) return;
    let index = here.firstClear();
    while (this.requests.size < SOLO_FETCHES && index < layout.count) {
      if (this.requests.has(index)) {
        index = here.firstClear(index + 1);
        continue;
      }
      // Longer each time: what has been asked for when company comes may be fetched by others, too.
      this.#soloExtent = Math.min(soloExtent, this.#soloExtent * 2);
      let count = 1;
      while (count < this.#soloExtent && this.#isFree(index + count)) count++;
      this.requests.begin(index, count, 'alone');
      index = here.firstClear(index + count);
    }
  }

  /** As home or stand-in, over the first chunks that have not entered the cluster. */
  #duty(): void {
    for (const index of this.#dutyWindow.open(this.window)) {
      if (this.isLaden) return;
      if (this.requests.has(index) || this.#state.here.has(index) || this.#state.isPromised(index)) continue;
      const rank = this.#dutyWindow.dueRank(index);
      if (rank === undefined) continue;
      if (this.#questions.mayFetch(index, rank)) this.#fetchGroup(index, rank === 0 ? 'home' : 'stand-in');
    }
  }

  #fetchGroup(index: number, reason: FetchReason, token?: string): void {
    const { homes, layout } = this.#state;
    const end = Math.min(layout.count, homes.groupOf(index) + homes.extent);
    let count = 1;
    while (index + count < end && this.#isFree(index + count)) count++;
    this.requests.begin(index, count, reason, token);
  }

  /** Nothing has moved for a while, in no blob: whoever was to bring the next chunk, this node fetches it now. */
  #rescue(): void {
    const { here, layout, now, lastProgress, lastByte, environment } = this.#state;
    const [least, most] = environment.parameters.rescue;
    const patience = Math.min(most, Math.max(least, RESCUE_ACKS * environment.pace.ack.limit));
    const { budget } = environment;
    // All requests at peers are taken, and bytes come: this blob waits for its turn.
    const isWaiting = !budget.isFree && now - budget.lastByte < patience;
    const wordsHold = now - lastByte < WORDS_HOLD;
    if ((isWaiting || now - lastProgress < patience) && wordsHold) return;
    let index = here.firstClear();
    while (this.requests.size < RESCUE_FETCHES && index < layout.count) {
      const isComing = wordsHold && this.#state.isPromised(index);
      if (!isComing && !this.isFetching(index)) this.requests.begin(index, 1, 'rescue');
      index = here.firstClear(index + 1);
    }
  }

  /**
   * The first chunk is long overdue, because whoever is at it has a slow line, or is starved on it: one of the swarm
   * goes for it, too, and each half second twice as many, until one says that it is at it now.
   */
  #rescueFirst(): void {
    const { here, now, homes, self, environment } = this.#state;
    const overdue = now - this.#began - environment.parameters.firstChunk;
    if (overdue < 0 || here.has(0) || this.isFetching(0) || this.#state.isNear(0)) return;
    if (this.#state.isPromisedSince(0, FIRST_AGAIN)) return;
    const before = environment.membership.live().length * homes.shareBefore(0, self);
    if (before < 2 ** (overdue / FIRST_DOUBLES)) this.requests.begin(0, 1, 'rescue');
  }

  #isFree(index: number): boolean {
    const { layout, here, seen } = this.#state;
    return index < layout.count && !here.has(index) && !seen.has(index) && !this.requests.has(index);
  }

  #stumbled(error: WeirError): void {
    const { environment, homes, swarm } = this.#state;
    environment.observer.stumbled(swarm, error);
    this.#lastError = error;
    if (isWeirError(error, 'upstream_throttled', 'upstream_status')) {
      // Fewer, longer requests: all members learn it with the next news.
      homes.grow(homes.extent === 1 ? MESSAGE_LIMITS.extent / 2 : MESSAGE_LIMITS.extent);
      this.#window.throttled();
    }
    const after = between(environment.scheduler, environment.parameters.originRetry);
    this.#blockedUntil = this.#state.now + after;
    // As long as bytes come from others, a registry that asks for patience is no reason to give up.
    const isStuck = ++this.#failures >= MAX_FAILURES && this.#state.now - this.#state.lastByte > HUNG;
    if (isStuck || !isPassing(error)) this.#events.failed(error);
  }
}

/** Whether it may be otherwise at the next try. */
function isPassing(error: WeirError): boolean {
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
