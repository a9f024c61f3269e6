/** Finding neighbours: joining at the rendezvous, asking those it names to be neighbours, and being asked. */
import { MILLISECOND, SECOND } from '../util/clock.ts';
import type { PeerName } from '../protocol/peer-id.ts';
import { Bitfield } from '../protocol/bitfield.ts';
import { inOrderOfChoice } from './peer-choice.ts';
import { Homes } from './chunk-owners.ts';
import type { SampledMember, SwarmMessage } from '../protocol/messages.ts';
import { shuffle } from './scheduler.ts';
import type { SwarmState } from './swarm-state.ts';

/** How long a node waits for company before it takes itself to be alone: many begin at the same moment. */
const COMPANY_WITHIN: number = 50 * MILLISECOND;
/** The same where the rendezvous has not answered: at least, and at most where answers take long here. */
const ANSWER_WITHIN: number = 400 * MILLISECOND;
const ANSWER_AT_MOST: number = 1.5 * SECOND;
/** How often others are asked where none of the rendezvous answers. */
const MOST_TURNS = 2;
/** Answers take two ways and, at first, a handshake. */
const ANSWER_ACKS = 2;
/** How long somebody asked to be a neighbour may take to say so. */
const LINK_WITHIN: number = 1 * SECOND;
/** How often the rendezvous is asked again: while neighbours are missing, and when there are enough. */
const REJOIN_SOON: number = 1 * SECOND;
const REJOIN_LATE: number = 10 * SECOND;

/** Milliseconds after the last neighbour was lost in which a node is not alone: it is rather not reached. */
const COMPANY_LASTS: number = 5 * SECOND;
/** A rendezvous that names no more than these is not enough. */
const FEW_KNOWN = 4;

export class Linking {
  readonly #state: SwarmState;
  readonly #changed: () => void;
  readonly #startedAt: number;
  /** Asked to be neighbours, and when. */
  readonly #asked: Map<PeerName, number> = new Map();
  /** They will not: full, or gone. */
  readonly #refused: Set<PeerName> = new Set();
  /** When there was a neighbour last. */
  #companyAt = -Infinity;
  #joinedAt = -Infinity;
  #checked = false;
  /** At which level of rendezvous this node enters itself (Homes.rendezvous), and since when. */
  #level = 0;
  #levelSince: number;
  /** How many others each rendezvous of this level has named, the last time; undefined: it has not answered. */
  #named: Map<PeerName, number | undefined> = new Map();
  /** Rendezvous that were asked and have not answered yet; undefined before the first are asked. */
  #unanswered: Set<PeerName> | undefined;
  /** Rendezvous that are dead or do not answer: the next in order stand in for them. */
  readonly #passedOver: Set<PeerName> = new Set();
  /** How often others were asked because none had answered. */
  #turns = 0;
  /** When those were asked first that are waited for. */
  #waitsSince: number;
  /** A rendezvous has answered, whatever it was. */
  #hasAnswer = false;
  /** The rendezvous has named others, the last time that it said anything. */
  #hasCompany = false;

  constructor(state: SwarmState, changed: () => void) {
    this.#state = state;
    this.#changed = changed;
    this.#startedAt = state.now;
    this.#waitsSince = state.now;
    this.#levelSince = state.now;
  }

  /** Nobody else is in the swarm, as far as can be told. */
  get isAlone(): boolean {
    if (this.#state.neighbours.size > 0 || this.#asked.size > 0 || this.#hasCompany) return false;
    if (this.#state.now - this.#companyAt < COMPANY_LASTS) return false;
    // One that stands in for a rendezvous may be the first to hear of it: that it knows nobody means little.
    if (this.#unanswered?.size === 0 && this.#turns === 0)
      return this.#state.now - this.#startedAt > COMPANY_WITHIN;
    return !this.#isWaiting && !this.#mayAskOthers;
  }

  /** Who the neighbours are is not known yet: what to fetch from the registry cannot be decided. */
  get isUnsettled(): boolean {
    if (this.#state.neighbours.size > 0 || this.#isRefused) return false;
    return this.#isWaiting || this.#mayAskOthers;
  }

  /** All rendezvous have answered, and of those that they named nobody will, or is there. */
  get #isRefused(): boolean {
    return this.#hasCompany && this.#unanswered?.size === 0 && this.#asked.size === 0;
  }

  get #isWaiting(): boolean {
    return this.#state.now - this.#waitsSince <= this.#answerWithin;
  }

  /** No rendezvous has answered, and there are others to ask. */
  get #mayAskOthers(): boolean {
    return !this.#hasAnswer && this.#turns < MOST_TURNS;
  }

  get #answerWithin(): number {
    const { limit } = this.#state.environment.pace.ack;
    return Math.min(ANSWER_AT_MOST, Math.max(ANSWER_WITHIN, ANSWER_ACKS * limit));
  }

  /** Joins again when it is time, and forgets who does not answer. */
  tick(): void {
    const { now, neighbours, environment } = this.#state;
    if (neighbours.size > 0) this.#companyAt = now;
    for (const [peer, at] of this.#asked) if (now - at > LINK_WITHIN) this.#asked.delete(peer);
    for (const { peer } of Array.from(neighbours.all())) {
      if (environment.membership.get(peer) === undefined) this.#state.forget(peer);
    }
    if (neighbours.size === 0 && this.#mayAskOthers && !this.#isWaiting) this.#askOthers();
    // One of this level does not answer.
    if (this.#hasAnswer && now - this.#levelSince > this.#answerWithin) this.#climb();
    const pause = neighbours.size < environment.parameters.links ? REJOIN_SOON : REJOIN_LATE;
    if (now - this.#joinedAt >= pause) this.join();
  }

  /** The last level at which this node has entered itself. */
  get level(): number {
    return this.#level;
  }

  join(): void {
    const { swarm, layout, here, environment, now } = this.#state;
    const { membership, parameters } = environment;
    this.#joinedAt = now;
    this.#refused.clear();
    const { size } = layout;
    const { self } = this.#state;
    const live = membership.live();
    const members =
      this.#passedOver.size === 0 ? live : live.filter(({ peer }) => !this.#passedOver.has(peer));
    const rendezvous = Homes.rendezvous(swarm, members, parameters.rendezvous, self, this.#level);
    this.#named = new Map(rendezvous.map(({ peer }) => [peer, this.#named.get(peer)]));
    this.#unanswered ??= new Set(this.#named.keys());
    for (const { peer } of rendezvous) {
      environment.send(peer, { kind: 'join', swarm, size, complete: here.full });
    }
  }

  /** None of the rendezvous answers: the next in order are asked, by everybody who finds that. */
  #askOthers(): void {
    for (const peer of this.#unanswered ?? []) this.#passedOver.add(peer);
    this.#turns++;
    this.#unanswered = undefined;
    this.#waitsSince = this.#state.now;
    this.join();
  }

  sample(from: PeerName, members: readonly SampledMember[]): void {
    this.#unanswered?.delete(from);
    this.#passedOver.delete(from);
    this.#hasAnswer = true;
    this.#hasCompany = members.length > 0;
    if (this.#named.has(from)) this.#named.set(from, members.length);
    this.#estimate();
    if (this.#unanswered?.size === 0) this.#climb();
    for (const { peer, complete } of members) {
      if (complete && this.#isLive(peer) && !this.#state.absent.has(peer)) this.#state.seeds.add(peer);
    }
    // The tick would see it too, but later: the first byte waits for this.
    if (!this.#checked) this.#state.environment.scheduler.after(COMPANY_WITHIN + 1, this.#changed);
    this.#checked = true;
    const { scheduler, parameters } = this.#state.environment;
    const isNew = ({ peer }: SampledMember): boolean =>
      peer !== this.#state.self &&
      this.#state.neighbours.get(peer) === undefined &&
      !this.#asked.has(peer) &&
      !this.#refused.has(peer) &&
      !this.#state.isMute(peer) &&
      this.#isLive(peer);
    const fresh = shuffle(members.filter(isNew), scheduler);
    // A quarter of the neighbours is to be of other zones.
    const forFar = Math.ceil(parameters.links * (1 - parameters.sameZone));
    const { neighbours, environment } = this.#state;
    let room = parameters.links - neighbours.size - this.#asked.size;
    const choice = inOrderOfChoice(fresh, {
      isSameZone: (peer) => this.#isSameZone(peer),
      isKnown: (peer) => environment.acquainted.has(peer) || environment.isInTouch(peer),
      far: forFar - (neighbours.size - neighbours.sameZone),
    });
    for (const peer of choice) {
      if (room-- <= 0) break;
      this.#asked.set(peer, this.#state.now);
      this.#say(peer, true);
    }
    this.#changed();
  }

  /**
   * A list that is named whole tells how many there are in all lists of its level; otherwise it may be everybody. Lists
   * fill while many come at once: the longest one tells most, as few are among the first in all theirs.
   */
  #estimate(): void {
    const { environment } = this.#state;
    const { membership, parameters } = environment;
    const named = this.#mostNamed;
    const members = membership.live().length;
    const lists = Homes.rendezvousAt(members, parameters.rendezvous, this.#level) / parameters.rendezvous;
    this.#state.company =
      named < 2 * parameters.links ? Math.min(members, Math.ceil(named * lists)) : members;
  }

  get #mostNamed(): number {
    return Math.max(0, ...[...this.#named.values()].filter((count) => count !== undefined));
  }

  /** Few are known at all of this level: of a small swarm in a large cluster, most are in the lists of others. */
  #climb(): void {
    const { environment, neighbours } = this.#state;
    const { membership, parameters } = environment;
    if (this.#mostNamed > FEW_KNOWN || neighbours.size > FEW_KNOWN) return;
    const { length: members } = membership.live();
    if (Homes.rendezvousAt(members, parameters.rendezvous, this.#level) <= parameters.rendezvous) return;
    this.#level++;
    this.#levelSince = this.#state.now;
    this.#unanswered = undefined;
    this.join();
  }

  /** @param accepted called where it is a neighbour now, before that is answered */
  link(from: PeerName, message: Extract<SwarmMessage, { kind: 'link' }>, accepted: () => void): void {
    const { neighbours, layout, environment, swarm, seen } = this.#state;
    const wasAsked = this.#asked.delete(from);
    const isKnown = neighbours.get(from) !== undefined;
    if (message.size !== layout.size) {
      this.#refused.add(from);
      this.#state.partWith(from);
      this.#changed();
      return;
    }
    if (message.have.length !== Math.ceil(layout.count / 8)) {
      const detail = `a link with ${message.have.length} bytes for ${layout.count} chunks`;
      this.#state.blame(from, 'protocol', { detail });
      return;
    }
    const isFull = !isKnown && !wasAsked && neighbours.size >= environment.parameters.linksMax;
    if (isFull || !this.#isLive(from) || (!isKnown && this.#state.isMute(from))) {
      environment.send(from, { kind: 'unlink', swarm, reason: 'full' });
      return;
    }
    const have = new Bitfield(layout.count, message.have.slice());
    neighbours.link(from, have, this.#isSameZone(from));
    for (let i = have.firstSet(); i < layout.count; i = have.firstSet(i + 1)) seen.set(i);
    accepted();
    if (message.asks) this.#say(from, false);
    this.#changed();
  }

  unlink(from: PeerName, reason: Extract<SwarmMessage, { kind: 'unlink' }>['reason']): void {
    this.#asked.delete(from);
    this.#refused.add(from);
    if (reason === 'absent') this.#state.hasNot(from);
    // Whoever leaves takes along what it alone had: somebody must fetch that again.
    if (reason === 'full') this.#state.neighbours.unlink(from);
    else this.#state.forget(from);
    this.#changed();
  }

  peerGone(peer: PeerName): void {
    this.#asked.delete(peer);
    if (this.#unanswered?.delete(peer) !== true) return;
    this.#passedOver.add(peer);
    if (this.#unanswered.size > 0) return;
    if (this.#mayAskOthers) this.#askOthers();
    else this.#climb();
  }

  /** Tells the neighbours that there is nothing to be had from this node any more. */
  leave(): void {
    const { neighbours, environment, swarm } = this.#state;
    for (const { peer } of neighbours.all())
      environment.send(peer, { kind: 'unlink', swarm, reason: 'done' });
  }

  #isLive(peer: PeerName): boolean {
    return this.#state.environment.membership.isLive(peer);
  }

  #isSameZone(peer: PeerName): boolean {
    const { membership } = this.#state.environment;
    return membership.get(peer)?.zone === membership.self.zone;
  }

  #say(peer: PeerName, asks: boolean): void {
    const { environment, swarm, layout, shareable } = this.#state;
    environment.send(peer, { kind: 'link', swarm, size: layout.size, have: shareable.bytes, asks });
  }
}
