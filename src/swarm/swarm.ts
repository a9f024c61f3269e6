/**
 * One blob that this node pulls in company. The parts decide, each on the shared {@link SwarmState}:
 *
 *   Linking     who the neighbours are
 *   Fetching    what is asked of which peer
 *   OriginDuty  what is fetched from the registry
 *   Arrivals    whether what came is right
 *   Outbox      what neighbours are told
 *
 * A session gathers what they bring, and keeps the time.
 * It is driven by messages, answers and a tick, and never waits: the same code runs in the simulator.
 */
import { MILLISECOND } from '../util/clock.ts';
import { isWeirError, WeirError } from '../util/errors.ts';
import type { PeerName } from '../protocol/peer-id.ts';
import { Arrivals } from './chunk-writer.ts';
import { Fetching } from './downloader.ts';
import { Linking } from './peer-connector.ts';
import type { SwarmMessage } from '../protocol/messages.ts';
import { OriginDuty } from './upstream-fetcher.ts';
import { Outbox } from './have-batcher.ts';
import { SwarmState, type SwarmStateOptions } from './swarm-state.ts';
import { isSameHash, type Statement } from '../protocol/attestation.ts';

/** How often time limits are looked at: a fraction of the shortest one. */
const TICK: number = 100 * MILLISECOND;

export interface SessionOptions extends SwarmStateOptions {
  /** All chunks are here. */
  readonly onComplete: () => void;
  /** It cannot go on. */
  readonly onFailed: (error: WeirError) => void;
  /** A chunk is here. `from`: undefined where the registry gave it. */
  readonly onChunk: (index: number, from: PeerName | undefined) => void;
}

export class Session {
  readonly state: SwarmState;
  readonly duty: OriginDuty;
  readonly #options: SessionOptions;
  readonly #fetching: Fetching;
  readonly #linking: Linking;
  readonly #outbox: Outbox;
  readonly #arrivals: Arrivals;
  #stopTick: () => void = () => undefined;
  #pumping = false;
  #pumpAgain = false;
  #over = false;

  constructor(options: SessionOptions) {
    const { environment, swarm } = options;
    const { parameters } = environment;
    const changed = (): void => this.pump();
    this.#options = options;
    const state = new SwarmState(options);
    state.onRoom = changed;
    this.state = state;
    this.#fetching = new Fetching(state, {
      arrived: (index, piece, from) => this.#arrivals.fromPeer(index, piece, from),
      entrusted: (index) => this.duty.entrust(index),
      fetches: () => this.duty.fetches,
      window: () => this.duty.window,
      changed,
    });
    this.duty = new OriginDuty(state, {
      arrived: (index, bytes, release) => this.#arrivals.fromOrigin(index, bytes, release),
      failed: (error) => this.#originFailed(error),
      changed,
    });
    this.#arrivals = new Arrivals(state, {
      right: (index, from) => this.#present(index, from),
      stated: (statement) => this.#outbox.seen(statement, undefined),
      disputed: (index) => this.duty.entrust(index),
      wrong: (from) => this.peerGone(from),
      failed: (error) => this.#fail(error),
      changed,
    });
    this.#linking = new Linking(state, changed);
    this.#outbox = new Outbox({
      swarm,
      beat: environment.beat,
      batch: () => {
        const { batch, batchShare } = parameters;
        return Math.min(batch[1], Math.max(batch[0], batchShare * this.#fetching.usual));
      },
      neighbours: state.neighbours,
      extent: () => state.homes.extent,
      send: (peer, message) => environment.send(peer, message),
    });
  }

  get links(): number {
    return this.state.neighbours.size;
  }

  /** Nobody else is in the swarm, as far as can be told. */
  get isAlone(): boolean {
    return this.#linking.isAlone;
  }

  /** Up to which level this node has entered itself at rendezvous. */
  get rendezvousLevel(): number {
    return this.#linking.level;
  }

  start(): void {
    this.#linking.join();
    this.#tick();
  }

  /** Ends it; neighbours are told where not all is here. Nothing is called back any more. */
  stop(): void {
    if (this.#over) return;
    this.#over = true;
    this.#stopTick();
    this.state.room.leave();
    this.#fetching.stop();
    this.duty.requests.stop();
    this.#outbox.flush();
    if (!this.state.here.full) this.leave();
  }

  /** Tells the neighbours that there is nothing to be had from this node any more. */
  leave(): void {
    this.#linking.leave();
  }

  message(from: PeerName, message: SwarmMessage): void {
    const { kind } = message;
    // All is here, but the blob is still being stored: who joins now would wait for an answer in vain.
    const isAnswered = kind === 'link' || kind === 'ask-origin';
    if (this.#over && !(isAnswered && this.state.here.full)) return;
    if (kind === 'sample') this.#linking.sample(from, message.members);
    else if (kind === 'link') this.#link(from, message);
    else if (kind === 'unlink') this.#linking.unlink(from, message.reason);
    else if (kind === 'have') this.#have(from, message.indices);
    else if (kind === 'seen') this.#seen(from, message);
    else if (kind === 'ask-origin') this.#askedForOrigin(from, message.index);
    else if (kind === 'origin-state') this.#originState(from, message);
  }

  /** Nothing can be asked of this peer any more. `isSlow`: it is set aside; what it is fetching it may yet bring. */
  peerGone(peer: PeerName, isSlow = false): void {
    if (this.#over) return;
    this.state.forget(peer, isSlow);
    this.#linking.peerGone(peer);
    this.#fetching.peerGone(peer);
    this.duty.peerGone(peer);
    this.pump();
  }

  /** Does all that can be done now. */
  pump(): void {
    if (this.#over) return;
    this.#pumpAgain = true;
    if (this.#pumping) return; // what is done below calls back here
    this.#pumping = true;
    while (this.#pumpAgain && !this.#over) {
      this.#pumpAgain = false;
      const { isAlone, isUnsettled } = this.#linking;
      this.#fetching.pump(!isAlone && !isUnsettled);
      if (isAlone || !isUnsettled) this.duty.pump(isAlone);
    }
    this.#pumping = false;
  }

  #tick(): void {
    const { scheduler } = this.state.environment;
    this.#fetching.check();
    this.#linking.tick();
    this.duty.requests.tick();
    this.pump();
    if (!this.#over) this.#stopTick = scheduler.after(TICK, () => this.#tick());
  }

  #link(from: PeerName, message: Extract<SwarmMessage, { kind: 'link' }>): void {
    const { swarm, environment } = this.state;
    this.#linking.link(from, message, () => {
      // With the answer the other one begins to ask homes for what is not on its way: it must know first.
      for (const index of this.duty.requests.underWay()) {
        environment.send(from, { kind: 'origin-state', swarm, index, state: 'fetching' });
      }
    });
  }

  #have(from: PeerName, indices: readonly number[]): void {
    const { neighbours, layout, seen, here, environment, now } = this.state;
    const neighbour = neighbours.get(from);
    const isFree = neighbour !== undefined && neighbours.isFree(neighbour, now) && environment.budget.isFree;
    let isNews = false;
    for (const index of indices) {
      if (index >= layout.count) {
        this.state.offended(from, `a have for chunk ${index}`);
        break;
      }
      if (neighbour !== undefined) neighbours.add(neighbour, index);
      else if (!here.has(index)) this.state.addElsewhere(index, from);
      if (isFree && this.state.isWanted(index)) isNews = true;
      if (seen.has(index)) continue;
      isNews = true;
      seen.set(index);
      this.state.progressed(); // not mere words: it can be asked for the chunk now, and is blamed where it has not got it
      this.duty.entered(index);
    }
    // One more holder is nothing to act on while no more can be asked for, or not of this one.
    if (isNews) this.pump();
  }

  #seen(from: PeerName, message: Extract<SwarmMessage, { kind: 'seen' }>): void {
    const { homes, statements, layout } = this.state;
    homes.grow(message.extent);
    let isNews = false;
    for (const statement of message.statements) {
      if (statement.index >= layout.count) {
        this.state.offended(from, `a statement of chunk ${statement.index}`);
        break;
      }
      if (statements[statement.index] !== undefined) {
        this.#outbox.isKnown(statement.index, from);
        continue;
      }
      if (!this.#learn(statement, from)) break;
      isNews = true;
    }
    if (isNews) this.pump();
  }

  /** Takes note of a new statement, and passes it on. False where it is forged. */
  #learn(statement: Statement, from: PeerName): boolean {
    const { statements, seen, swarm, layout, environment, here, options } = this.state;
    const { index, by } = statement;
    if (!this.state.isBelieved(by)) return true;
    if (!environment.isGenuine(statement, swarm, layout.size)) {
      this.state.offended(from, 'news with a forged statement');
      return false;
    }
    // What is here from an earlier run goes out with a statement of its own hash only.
    const hash = here.has(index) ? options.sink.hash(index) : undefined;
    if (hash !== undefined && !isSameHash(hash, statement.hash)) {
      this.state.verdicts.contest(statement);
      return true;
    }
    statements[index] = statement;
    this.state.heard();
    this.#outbox.seen(statement, from);
    if (!seen.has(index)) {
      seen.set(index);
      this.duty.entered(index);
    }
    return true;
  }

  #askedForOrigin(from: PeerName, index: number): void {
    const { swarm, seen, environment } = this.state;
    const isComing = (): boolean =>
      this.duty.isFetching(index) || this.state.isPromised(index, from) || this.duty.intends(index, from);
    // What has entered the cluster is on its way to here, as long as somebody is known who has it.
    const isOnItsWay = seen.has(index) ? this.state.isNear(index) : isComing();
    const state = this.state.isShareable(index) ? 'have' : isOnItsWay ? 'fetching' : 'none';
    environment.send(from, { kind: 'origin-state', swarm, index, state });
  }

  #originState(from: PeerName, message: Extract<SwarmMessage, { kind: 'origin-state' }>): void {
    if (message.index < this.state.layout.count) this.duty.originState(from, message);
  }

  #present(index: number, from: PeerName | undefined): void {
    const { here } = this.state;
    if (here.has(index) || this.#over) return;
    this.state.arrived(index);
    this.state.progressed();
    this.state.elsewhere.delete(index);
    this.duty.entered(index);
    this.#fetching.settled(index);
    this.#outbox.have(index);
    this.#options.onChunk(index, from);
    if (!here.full) return;
    this.stop();
    this.#options.onComplete();
  }

  /** Without the registry the pull goes on as long as peers have what is missing. */
  #originFailed(error: WeirError): void {
    const { here, layout } = this.state;
    for (let i = here.firstClear(); i < layout.count; i = here.firstClear(i + 1)) {
      if (!this.state.isNear(i) && this.state.arriving[i] === 0) {
        this.#fail(error);
        return;
      }
    }
  }

  #fail(error: WeirError): void {
    if (this.#over) return;
    this.stop();
    this.#options.onFailed(isWeirError(error) ? error : new WeirError('internal', String(error)));
  }
}
