/**
 * Asks peers for the chunks that they have, owners for chunks that no peer has, and a second peer if the first one
 * takes long. The swarm's tick checks the time limits.
 */
import { assertNever } from '../util/errors.ts';
import { URGENT_OWNER_REQUESTS } from './parameters.ts';
import type { WeirError } from '../util/errors.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import type { ChunkAnswer } from '../transfer/chunk-exchange.ts';
import type { ReceivedChunk } from './chunk-writer.ts';
import { FAILURE_REASONS, type ChunkRequest, type RequestFailure } from './chunk-request.ts';
import { ChunkPicker } from './chunk-picker.ts';
import { Hedger } from './hedger.ts';
import { OwnerPicker } from './owner-picker.ts';
import { ChunkRequester } from './chunk-requester.ts';
import { between, shuffle } from './scheduler.ts';
import { snub, strike } from './peer-health.ts';
import { ZoneTurns } from './zone-turns.ts';
import type { SwarmState } from './swarm-state.ts';

export interface DownloaderEvents {
  /** A chunk came from a peer; its hash is not checked yet. */
  arrived(index: number, chunk: ReceivedChunk, from: PeerId): void;
  /** This node is to fetch the chunk from upstream. `granter`: the owner that says so; undefined: none answers. */
  claimGranted(index: number, granter: PeerId | undefined): void;
  /** How many chunks this node is fetching from upstream. */
  fetches(): number;
  /** How many chunks that have not entered the cluster may be fetched at a time. */
  window(): number;
  /** A request ended: there may be more to ask. */
  changed(): void;
}

export class Downloader {
  readonly #state: SwarmState;
  readonly #events: DownloaderEvents;
  readonly #requests: ChunkRequester;
  readonly #ownerPicker: OwnerPicker;
  readonly #hedger: Hedger;
  readonly #picker: ChunkPicker;
  readonly #zones: ZoneTurns;
  /** Per chunk, scheduler's milliseconds until which holders that are no peers rest: they were busy. */
  readonly #otherHoldersAfter: Map<number, number> = new Map();
  /** Per chunk, scheduler's milliseconds since when its owner has it in hand. */
  readonly #askedSince: Map<number, number> = new Map();
  #wake: (() => void) | undefined;

  constructor(state: SwarmState, events: DownloaderEvents) {
    this.#state = state;
    this.#events = events;
    this.#hedger = new Hedger(state);
    const { peers, chunks, environment } = state;
    const { scheduler, parameters } = environment;
    const random = (): number => scheduler.random();
    this.#zones = new ZoneTurns(state, () => this.usual);
    this.#ownerPicker = new OwnerPicker(state, this.#zones);
    this.#picker = new ChunkPicker({
      peers,
      zones: this.#zones,
      wanted: chunks.missing,
      random,
      inOrder: parameters.inOrderShare,
    });
    this.#requests = new ChunkRequester(state, {
      answered: (chunkRequest, answer) => this.#answered(chunkRequest, answer),
      failed: (chunkRequest, failure, error) => this.#failed(chunkRequest, failure, error),
      changed: () => events.changed(),
    });
  }

  /** Usual milliseconds of a request for a chunk of this blob; 0 before the first. */
  get usual(): number {
    return this.#hedger.usual;
  }

  /** Asks for as much as the request window allows. @param owners whether owners may be asked too */
  pump(owners: boolean): void {
    this.#askHolders();
    if (owners) this.#askOwners();
    this.#hedge();
    this.#wakeUp();
  }

  /** Checks all time limits. */
  check(): void {
    this.#requests.check();
  }

  /** The chunk is here: other requests for it are dropped. */
  settled(index: number): void {
    this.#requests.drop((chunkRequest) => chunkRequest.index === index);
    this.#ownerPicker.settled(index);
    this.#zones.settled(index);
    this.#otherHoldersAfter.delete(index);
    this.#askedSince.delete(index);
  }

  peerGone(peer: PeerId): void {
    this.#requests.drop((chunkRequest) => chunkRequest.peer === peer);
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
      this.#requests.ask(choice.peer.id, choice.index, 'holder');
    }
    this.#askOtherHolders();
  }

  /** Members that others named as holders. */
  #askOtherHolders(): void {
    const { peers, otherHolders, now } = this.#state;
    for (const [index, holders] of otherHolders) {
      if (!this.#requests.mayTake) return;
      const [peer] = holders;
      if (peer === undefined || !this.#state.isWanted(index)) continue;
      if ((this.#otherHoldersAfter.get(index) ?? 0) > now) continue;
      holders.delete(peer);
      if (holders.size === 0) otherHolders.delete(index);
      if (!peers.isHeld(index)) this.#requests.ask(peer, index, 'holder');
    }
  }

  #askOwners(): void {
    const { environment, peers, now, lastProgress } = this.#state;
    const { parameters, scheduler, requestWindow } = environment;
    if (!requestWindow.isFree) return;
    const urgent = now - lastProgress > parameters.stallToUrgent;
    // All members of the swarm together have about one window of such requests under way, over all blobs.
    const share = Math.ceil(parameters.upstreamWindow / (1 + peers.size) / Math.max(1, requestWindow.users));
    const allowed = Math.max(urgent ? URGENT_OWNER_REQUESTS : 1, share);
    // Granted claims count too: otherwise the first node in a swarm would be granted all of the blob.
    let under = this.#events.fetches();
    for (const { role } of this.#requests.underWay) if (role === 'owner') under++;
    if (under >= allowed || !this.#requests.mayTake) return;
    const candidates = shuffle(this.#ownerPicker.candidates(this.#events.window()), scheduler);
    for (const index of candidates) {
      if (under >= allowed || !this.#requests.mayTake) return;
      const choice = this.#ownerPicker.choose(index);
      if (choice === undefined) continue; // this node is the owner
      if (choice.peer === undefined) this.#claim(index);
      else if (this.#requests.ask(choice.peer, index, choice.role, this.#askedSince.get(index))) under++;
    }
  }

  #hedge(): void {
    const { now, self } = this.#state;
    for (const { request, peer, role } of this.#hedger.late(this.#requests.underWay)) {
      request.hedgedAt = now;
      if (peer === self) this.#claim(request.index);
      else if (!this.#requests.hedge(peer, request.index, role)) return;
    }
  }

  /** Sets a timer for when the first busy peer can be asked again. */
  #wakeUp(): void {
    if (this.#wake !== undefined) return;
    const { peers, now, environment } = this.#state;
    const next = Math.min(this.#ownerPicker.nextAt, peers.nextFree(now));
    if (next === Infinity) return;
    this.#wake = environment.scheduler.after(next - now + 1, () => {
      this.#wake = undefined;
      this.#events.changed();
    });
  }

  #answered(chunkRequest: ChunkRequest, answer: ChunkAnswer): void {
    const { environment } = this.#state;
    const { peer } = chunkRequest;
    environment.contacted.add(peer);
    environment.strikes.delete(peer);
    environment.snubbed.delete(peer);
    // The owner fetches or has it: another upstream request would only delay what is on its way.
    if (chunkRequest.role === 'owner' && (answer.kind === 'retry' || answer.kind === 'busy'))
      this.#state.heard();
    this.#dispatch(chunkRequest, answer);
    this.#events.changed();
  }

  #dispatch(chunkRequest: ChunkRequest, answer: ChunkAnswer): void {
    switch (answer.kind) {
      case 'chunk':
        return this.#chunk(chunkRequest, answer);
      case 'busy':
        return this.#busy(chunkRequest, answer.load);
      case 'retry':
        return this.#retry(chunkRequest, answer.after);
      case 'redirect':
        return this.#redirected(chunkRequest.index, chunkRequest.peer, answer.holders);
      case 'unable':
        return this.#claim(chunkRequest.index, chunkRequest.peer);
      case 'absent':
        return this.#absent(chunkRequest);
      default:
        assertNever(answer);
    }
  }

  #chunk(chunkRequest: ChunkRequest, answer: Extract<ChunkAnswer, { kind: 'chunk' }>): void {
    const { environment, layout, peers, now } = this.#state;
    const { attestation } = answer;
    if (attestation?.index !== chunkRequest.index) {
      answer.release?.();
      const detail = `a chunk with the attestation of chunk ${attestation?.index} instead of ${chunkRequest.index}`;
      this.#state.blame(chunkRequest.peer, 'protocol', detail);
      return;
    }
    if (answer.size !== layout.size) {
      answer.release?.();
      this.#state.partWith(chunkRequest.peer);
      this.#absent(chunkRequest);
      return;
    }
    this.#hedger.observe(now - chunkRequest.startedAt, chunkRequest.role);
    environment.requestWindow.onTransferDone(now - chunkRequest.firstByteAt);
    const swarmPeer = peers.get(chunkRequest.peer);
    if (swarmPeer !== undefined) swarmPeer.load = 0;
    const chunk = { bytes: answer.bytes, attestation, release: () => answer.release?.() };
    this.#events.arrived(chunkRequest.index, chunk, chunkRequest.peer);
  }

  #busy({ peer, index, role }: ChunkRequest, load: number): void {
    const { environment, peers, now } = this.#state;
    const { busyBackoff, busyBackoffShare } = environment.parameters;
    const share = busyBackoffShare * between(environment.scheduler, [0.5, 1.5]);
    const until = now + between(environment.scheduler, busyBackoff) + share * this.#hedger.usual;
    this.#state.heard(); // it sends to others: our turn will come
    const swarmPeer = peers.get(peer);
    if (swarmPeer !== undefined) {
      peers.rest(swarmPeer, until);
      swarmPeer.load = load;
    }
    if (role === 'owner') this.#ownerPicker.notBefore(index, until);
    else if (swarmPeer === undefined) this.#otherHolderBusy(peer, index);
  }

  /** The holder is no peer and is busy, but it stays known: otherwise the chunk would count as lost. */
  #otherHolderBusy(peer: PeerId, index: number): void {
    const { environment, now, seeds } = this.#state;
    const until = now + between(environment.scheduler, environment.parameters.retryBackoff);
    this.#ownerPicker.notBefore(index, until);
    if (seeds.has(peer)) return; // another seed is as good
    this.#otherHoldersAfter.set(index, until);
    this.#state.addOtherHolder(index, peer);
  }

  #retry({ index, hedgedAt }: ChunkRequest, after: number): void {
    // The registry throttles: whoever else is asked has to wait, too.
    const [, most] = this.#state.environment.parameters.retryBackoff;
    if (after > most) this.#askedSince.delete(index);
    else if (this.#hedger.isLate(index, hedgedAt)) return this.#nextRank(index);
    else this.#askedSince.set(index, hedgedAt);
    this.#ownerPicker.notBefore(index, this.#state.now + after);
  }

  #redirected(index: number, from: PeerId, holders: readonly PeerId[]): void {
    const { environment, self, now, absent } = this.#state;
    const others = holders.filter((holder) => holder !== self && holder !== from);
    if (others.length > 0 && others.every((holder) => absent.has(holder))) {
      // They had it once. The owner learns from the claim that they lack it now.
      this.#state.chunks.doubt(index);
      this.#claim(index);
      return;
    }
    for (const holder of others) if (!absent.has(holder)) this.#state.addOtherHolder(index, holder);
    this.#ownerPicker.notBefore(
      index,
      now + between(environment.scheduler, environment.parameters.retryBackoff),
    );
  }

  #absent({ peer, index, role }: ChunkRequest): void {
    if (role === 'owner') {
      this.#nextRank(index);
      return;
    }
    this.#state.onMissing(peer); // others had named it
    if (this.#state.isLost(index)) this.#state.chunks.doubt(index); // it was the only holder
    const { peers, environment, swarm } = this.#state;
    const swarmPeer = peers.get(peer);
    if (swarmPeer === undefined || !peers.has(swarmPeer, index)) return;
    // It had announced the chunk itself.
    environment.missing.about(swarm, peer, () => this.#state.blame(peer, 'broken-promise'));
    this.#state.forget(peer);
  }

  #failed(chunkRequest: ChunkRequest, failure: RequestFailure, error: WeirError | undefined): void {
    const { environment } = this.#state;
    const { peer, index, role } = chunkRequest;
    environment.contacted.delete(peer);
    if (failure === 'lost') return this.#events.changed();
    if (failure === 'queued') {
      snub(this.#state, peer, environment.parameters.firstBackoff);
      // An owner that acknowledged is asked again, and so shows that it lives: a slow registry takes longer than this.
      if (role === 'owner') {
        this.#askedSince.set(index, chunkRequest.hedgedAt);
        this.#ownerPicker.notBefore(index, this.#state.now + environment.parameters.busyBackoff[1]);
      }
    } else if (failure === 'silent' || failure === 'stalled') {
      environment.requestWindow.onTransferDone(Infinity);
      strike(this.#state, peer, failure);
      if (role === 'owner') this.#nextRank(index);
    } else {
      // A blamed peer is no owner any more: the next one moves up by itself.
      this.#state.blame(peer, FAILURE_REASONS[failure], error?.message);
    }
    if (failure !== 'queued') this.peerGone(peer); // its other chunks will not come either
    this.#events.changed();
  }

  #nextRank(index: number): void {
    this.#askedSince.delete(index);
    if (!this.#ownerPicker.nextRank(index)) this.#claim(index);
  }

  #claim(index: number, granter?: PeerId): void {
    this.#ownerPicker.settled(index);
    this.#events.claimGranted(index, granter);
  }
}
