/**
 * Asking peers: neighbours for what they have, homes for what nobody near has, and second peers where the first one
 * takes long. Time limits are checked by the session's tick.
 */
import { SECOND } from '../util/clock.ts';
import type { WeirError } from '../util/errors.ts';
import type { PeerName } from '../protocol/peer-id.ts';
import type { PieceAnswer } from '../transfer/chunk-exchange.ts';
import type { ArrivedPiece } from './chunk-writer.ts';
import { LAPSE_REASONS, type Asking, type Lapse } from './chunk-request.ts';
import { ChunkPicker } from './chunk-picker.ts';
import { Hedging } from './hedger.ts';
import { HomeAsks } from './owner-picker.ts';
import { PeerRequests } from './chunk-requester.ts';
import { between, shuffle } from './scheduler.ts';
import { setAside, slacked } from './peer-health.ts';
import type { SwarmState } from './swarm-state.ts';

/** Home asks under way where nothing moves. */
const URGENT_ASKS = 4;
/** Milliseconds for which a home that cannot fetch is not asked again. */
const UNABLE_FOR: number = 1 * SECOND;

export interface FetchingEvents {
  /** A chunk came from a peer; its hash is not checked yet. */
  arrived(index: number, piece: ArrivedPiece, from: PeerName): void;
  /** This node is to fetch the chunk from the registry itself: its home will not, or no home answers. */
  entrusted(index: number): void;
  /** How many chunks this node is fetching from the registry. */
  fetches(): number;
  /** How many chunks that have not entered the cluster may be fetched at a time. */
  window(): number;
  /** Something ended: there may be more to ask. */
  changed(): void;
}

export class Fetching {
  readonly #state: SwarmState;
  readonly #events: FetchingEvents;
  readonly #requests: PeerRequests;
  readonly #homes: HomeAsks;
  readonly #hedging: Hedging;
  readonly #picker: ChunkPicker;
  /** Per chunk, scheduler's milliseconds until which those who were named by others are not asked: they were busy. */
  readonly #elsewhereAfter: Map<number, number> = new Map();
  #wake: (() => void) | undefined;

  constructor(state: SwarmState, events: FetchingEvents) {
    this.#state = state;
    this.#events = events;
    this.#homes = new HomeAsks(state);
    this.#hedging = new Hedging(state);
    const { neighbours, wanted, environment } = state;
    const { scheduler, parameters } = environment;
    const random = (): number => scheduler.random();
    this.#picker = new ChunkPicker({ neighbours, wanted, random, inOrder: parameters.inOrder });
    this.#requests = new PeerRequests(state, {
      answered: (asking, answer) => this.#answered(asking, answer),
      lapsed: (asking, lapse, error) => this.#lapsed(asking, lapse, error),
      changed: () => events.changed(),
    });
  }

  /** Usual milliseconds of a transfer of this blob; 0 before the first. */
  get usual(): number {
    return this.#hedging.usual;
  }

  /** Asks for as much as the budget allows. `homes`: whether homes may be asked, too. */
  pump(homes: boolean): void {
    this.#askHolders();
    if (homes) this.#askFar();
    this.#hedge();
    this.#wakeUp();
  }

  /** Checks all time limits. */
  check(): void {
    this.#requests.check();
  }

  /** The chunk is here: nobody need send it any more. */
  settled(index: number): void {
    this.#requests.drop((asking) => asking.index === index);
    this.#homes.settled(index);
    this.#elsewhereAfter.delete(index);
  }

  peerGone(peer: PeerName): void {
    this.#requests.drop((asking) => asking.peer === peer);
  }

  stop(): void {
    this.#wake?.();
    this.#wake = undefined;
    this.#requests.stop();
  }

  #askHolders(): void {
    for (;;) {
      const { mayTake } = this.#requests;
      if (!mayTake && !this.#requests.mayWant) return;
      const choice = this.#picker.pick(this.#state.now);
      if (choice === undefined) break;
      if (!mayTake) return this.#requests.wants();
      this.#requests.ask(choice.neighbour.peer, choice.index, 'holder');
    }
    this.#askElsewhere();
  }

  /** Peers that were named by others. */
  #askElsewhere(): void {
    const { neighbours, elsewhere, now } = this.#state;
    for (const [index, peers] of elsewhere) {
      if (!this.#requests.mayTake) return;
      const [peer] = peers;
      if (peer === undefined || !this.#state.isWanted(index)) continue;
      if ((this.#elsewhereAfter.get(index) ?? 0) > now) continue;
      peers.delete(peer);
      if (peers.size === 0) elsewhere.delete(index);
      if (!neighbours.isHeld(index)) this.#requests.ask(peer, index, 'holder');
    }
  }

  #askFar(): void {
    const { environment, neighbours, now, lastProgress } = this.#state;
    const { parameters, scheduler, budget } = environment;
    if (!budget.isFree) return;
    const urgent = now - lastProgress > parameters.noProgress;
    // Together the members of the swarm are to have about one window of such requests under way, over all blobs.
    const share = Math.ceil(parameters.originWindow / (1 + neighbours.size) / Math.max(1, budget.users));
    const allowed = Math.max(urgent ? URGENT_ASKS : 1, share);
    // What homes left to this node counts, too: the first in a swarm would be left all of it.
    let under = this.#events.fetches();
    for (const { role } of this.#requests.underWay) if (role === 'home') under++;
    if (under >= allowed || !this.#requests.mayTake) return;
    const candidates = shuffle(this.#homes.candidates(this.#events.window()), scheduler);
    for (const index of candidates) {
      if (under >= allowed || !this.#requests.mayTake) return;
      const choice = this.#homes.choose(index);
      if (choice === undefined) continue; // its own duty
      if (choice.peer === undefined) this.#entrust(index);
      else if (this.#requests.ask(choice.peer, index, choice.role)) under++;
    }
  }

  #hedge(): void {
    for (const { index, peer } of this.#hedging.late(this.#requests.underWay)) {
      if (!this.#requests.hedge(peer, index)) return;
    }
  }

  /** Asks again by itself when the first busy neighbour is worth another try. */
  #wakeUp(): void {
    if (this.#wake !== undefined) return;
    const { neighbours, now, environment } = this.#state;
    const next = Math.min(this.#homes.nextAt, neighbours.nextFree(now));
    if (next === Infinity) return;
    this.#wake = environment.scheduler.after(next - now + 1, () => {
      this.#wake = undefined;
      this.#events.changed();
    });
  }

  #answered(asking: Asking, answer: PieceAnswer): void {
    const { environment } = this.#state;
    const { index, peer } = asking;
    environment.acquainted.add(peer);
    environment.slack.delete(peer);
    environment.mute.delete(peer);
    // A home that is at it, or has it: whoever went to the registry besides would only delay what is on its way.
    if (asking.role === 'home' && (answer.kind === 'retry' || answer.kind === 'busy')) this.#state.heard();
    if (answer.kind === 'piece') this.#piece(asking, answer);
    else if (answer.kind === 'busy') this.#busy(asking, answer.load);
    else if (answer.kind === 'retry') this.#retry(index, answer.after);
    else if (answer.kind === 'redirect') this.#redirected(index, peer, answer.holders);
    else if (answer.kind === 'unable') this.#unable(index);
    else this.#absent(asking);
    this.#events.changed();
  }

  #piece(asking: Asking, answer: Extract<PieceAnswer, { kind: 'piece' }>): void {
    const { environment, layout, neighbours, now } = this.#state;
    const { statement } = answer;
    if (statement?.index !== asking.index) {
      answer.release?.();
      const detail = `a piece with the statement of chunk ${statement?.index} in place of ${asking.index}`;
      this.#state.blame(asking.peer, 'protocol', { detail });
      return;
    }
    if (answer.size !== layout.size) {
      answer.release?.();
      this.#state.partWith(asking.peer);
      this.#absent(asking);
      return;
    }
    this.#hedging.observe(now - asking.startedAt);
    environment.budget.took(now - asking.firstByteAt);
    const neighbour = neighbours.get(asking.peer);
    if (neighbour !== undefined) neighbour.load = 0;
    const release = (): void => answer.release?.();
    this.#events.arrived(asking.index, { bytes: answer.bytes, statement, release }, asking.peer);
  }

  #busy({ peer, index, role }: Asking, load: number): void {
    const { environment, neighbours, now } = this.#state;
    const { busy, busyShare } = environment.parameters;
    const share = busyShare * between(environment.scheduler, [0.5, 1.5]);
    const until = now + between(environment.scheduler, busy) + share * this.#hedging.usual;
    this.#state.heard(); // it is sending to others: our turn will come
    const neighbour = neighbours.get(peer);
    if (neighbour !== undefined) {
      neighbours.rest(neighbour, until);
      neighbour.load = load;
    }
    if (role === 'home') this.#homes.notBefore(index, until);
    else if (neighbour === undefined) this.#busyElsewhere(peer, index);
  }

  /** Somebody who is no neighbour has many askers, but it has the chunk: who forgot it would take the chunk for lost. */
  #busyElsewhere(peer: PeerName, index: number): void {
    const { environment, now, seeds } = this.#state;
    const until = now + between(environment.scheduler, environment.parameters.retry);
    this.#homes.notBefore(index, until);
    if (seeds.has(peer)) return; // another one is as good
    this.#elsewhereAfter.set(index, until);
    this.#state.addElsewhere(index, peer);
  }

  #retry(index: number, after: number): void {
    const until = this.#state.now + after;
    this.#homes.notBefore(index, until);
    this.#homes.rest(until);
  }

  #redirected(index: number, from: PeerName, holders: readonly PeerName[]): void {
    const { environment, self, now, absent } = this.#state;
    const others = holders.filter((holder) => holder !== self && holder !== from);
    if (others.length > 0 && others.every((holder) => absent.has(holder))) {
      // They had it once. The home learns from this that they have not any more.
      this.#state.seen.clear(index);
      this.#entrust(index);
      return;
    }
    for (const holder of others) if (!absent.has(holder)) this.#state.addElsewhere(index, holder);
    this.#homes.notBefore(index, now + between(environment.scheduler, environment.parameters.retry));
  }

  /** The home leaves it to us. */
  #unable(index: number): void {
    this.#homes.notBefore(index, this.#state.now + UNABLE_FOR);
    this.#entrust(index);
  }

  #absent({ peer, index, role }: Asking): void {
    if (role === 'home') {
      this.#nextRank(index);
      return;
    }
    this.#state.hasNot(peer); // others had said so
    if (this.#state.isLost(index)) this.#state.seen.clear(index); // and it was the only one
    const { neighbours, environment, swarm } = this.#state;
    const neighbour = neighbours.get(peer);
    if (neighbour === undefined || !neighbours.has(neighbour, index)) return;
    // It had said itself that it has it.
    environment.doubts.about(swarm, peer, () => this.#state.blame(peer, 'broken-promise'));
    this.#state.forget(peer);
  }

  #lapsed(asking: Asking, lapse: Lapse, error: WeirError | undefined): void {
    const { environment } = this.#state;
    const { peer, index, role } = asking;
    environment.acquainted.delete(peer);
    if (lapse === 'queued') {
      setAside(this.#state, peer, environment.parameters.aside);
      // A home that has it in hand is asked again: from a slow registry a chunk takes longer than anybody waits.
      if (role === 'home') this.#homes.notBefore(index, this.#state.now + environment.parameters.busy[1]);
    } else if (lapse === 'silent' || lapse === 'stalled') {
      environment.budget.took(Infinity);
      slacked(this.#state, peer, lapse);
      if (role === 'home') this.#nextRank(index);
    } else {
      // Whoever is blamed is no home any more: the next one moves up by itself.
      this.#state.blame(peer, LAPSE_REASONS[lapse], { detail: error?.message });
    }
    if (lapse !== 'queued') this.peerGone(peer); // what else it was to send will not come either
    this.#events.changed();
  }

  #nextRank(index: number): void {
    if (!this.#homes.nextRank(index)) this.#entrust(index);
  }

  #entrust(index: number): void {
    this.#homes.settled(index);
    this.#events.entrusted(index);
  }
}
