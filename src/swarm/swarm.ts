/**
 * One blob that this node pulls together with others. The parts decide, each on the shared {@link SwarmState}:
 *
 *   PeerConnector    which members are peers
 *   Downloader       which chunk is asked of which peer
 *   UpstreamFetcher  which chunks are fetched from upstream
 *   ChunkWriter      whether received bytes are right
 *   HaveBatcher      the news that peers are sent
 *
 * A Swarm joins them, and keeps the time. Messages, answers and a tick drive it, and it never waits: the same code runs
 * in the simulator.
 */
import { TICK_INTERVAL } from './parameters.ts';
import { assertNever, isWeirError, WeirError } from '../util/errors.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import { ChunkWriter } from './chunk-writer.ts';
import { Downloader } from './downloader.ts';
import { PeerConnector } from './peer-connector.ts';
import type { SwarmMessage } from '../protocol/messages.ts';
import { UpstreamFetcher } from './upstream-fetcher.ts';
import { HaveBatcher } from './have-batcher.ts';
import { SwarmState, type SwarmStateOptions } from './swarm-state.ts';
import { isSameHash, type Attestation } from '../protocol/attestation.ts';

export interface SwarmOptions extends SwarmStateOptions {
  /** All chunks are here. */
  readonly onComplete: () => void;
  /** It cannot go on. */
  readonly onFailed: (error: WeirError) => void;
  /** A chunk is here. `from`: undefined if it came from upstream. */
  readonly onChunk: (index: number, from: PeerId | undefined) => void;
}

export class Swarm {
  readonly state: SwarmState;
  readonly fetcher: UpstreamFetcher;
  readonly #options: SwarmOptions;
  readonly #downloader: Downloader;
  readonly #connector: PeerConnector;
  readonly #haveBatcher: HaveBatcher;
  readonly #chunkWriter: ChunkWriter;
  #stopTick: () => void = () => undefined;
  #pumping = false;
  #pumpAgain = false;
  #over = false;

  constructor(options: SwarmOptions) {
    const { environment, swarm } = options;
    const { parameters } = environment;
    const changed = (): void => this.pump();
    this.#options = options;
    const state = new SwarmState(options);
    state.onRoom = changed;
    this.state = state;
    this.#downloader = new Downloader(state, {
      arrived: (index, chunk, from) => this.#chunkWriter.fromPeer(index, chunk, from),
      claimGranted: (index, granter) => this.fetcher.granted(index, granter),
      fetches: () => this.fetcher.fetches,
      window: () => this.fetcher.window,
      changed,
    });
    this.fetcher = new UpstreamFetcher(state, {
      arrived: (index, bytes, release) => this.#chunkWriter.fromUpstream(index, bytes, release),
      failed: (error) => this.#upstreamFailed(error),
      changed,
    });
    this.#chunkWriter = new ChunkWriter(state, {
      written: (index, from) => this.#present(index, from),
      attested: (attestation) => this.#haveBatcher.attested(attestation, undefined),
      disputed: (index) => this.fetcher.granted(index),
      wrong: (from) => this.peerGone(from),
      failed: (error) => this.#fail(error),
      changed,
    });
    this.#connector = new PeerConnector(state, changed);
    this.#haveBatcher = new HaveBatcher({
      swarm,
      batcher: environment.batcher,
      batch: () => {
        const { batchInterval, batchShare } = parameters;
        return Math.min(batchInterval[1], Math.max(batchInterval[0], batchShare * this.#downloader.usual));
      },
      peers: state.peers,
      fetchGroup: () => state.owners.fetchGroup,
      send: (peer, message) => environment.send(peer, message),
    });
  }

  get peers(): number {
    return this.state.peers.size;
  }

  /** Whether nobody else is in the swarm, as far as this node knows. */
  get isAlone(): boolean {
    return this.#connector.isAlone;
  }

  /** Up to which level this node has announced itself to trackers. */
  get trackerLevel(): number {
    return this.#connector.level;
  }

  start(): void {
    this.#connector.announce();
    this.#tick();
  }

  /** Ends it, and tells the peers unless the blob is complete. Nothing is called back any more. */
  stop(): void {
    if (this.#over) return;
    this.#over = true;
    this.#stopTick();
    this.state.room.leave();
    this.#downloader.stop();
    this.fetcher.requests.stop();
    this.#haveBatcher.flush();
    if (!this.state.have.full) this.leave();
  }

  /** Tells the peers that this node has nothing to give any more. */
  leave(): void {
    this.#connector.leave();
  }

  message(from: PeerId, message: SwarmMessage): void {
    const { kind } = message;
    // The blob is complete, but still being stored: a peer that comes now would wait for an answer in vain.
    if (this.#over && !(kind === 'handshake' && this.state.have.full)) return;
    switch (message.kind) {
      case 'peers':
        return this.#connector.peersNamed(from, message.peers);
      case 'handshake':
        return this.#connector.handshake(from, message);
      case 'bye':
        return this.#connector.bye(from, message.reason);
      case 'have':
        return this.#have(from, message.indices);
      case 'attested':
        return this.#attested(from, message);
      case 'claim':
        return this.#claim(message);
      case 'announce':
      case 'query':
        return; // the tracker's, which swarm-manager.ts asks
      default:
        assertNever(message);
    }
  }

  /** Nothing can be asked of this peer any more. */
  peerGone(peer: PeerId): void {
    if (this.#over) return;
    this.state.forget(peer);
    this.#connector.peerGone(peer);
    this.#downloader.peerGone(peer);
    this.pump();
  }

  /** Does all that can be done now. */
  pump(): void {
    if (this.#over) return;
    this.#pumpAgain = true;
    if (this.#pumping) return; // the calls below call back here
    this.#pumping = true;
    while (this.#pumpAgain && !this.#over) {
      this.#pumpAgain = false;
      const { isAlone, isUnsettled } = this.#connector;
      this.#downloader.pump(!isAlone && !isUnsettled);
      if (isAlone || !isUnsettled) this.fetcher.pump(isAlone);
    }
    this.#pumping = false;
  }

  #tick(): void {
    const { scheduler } = this.state.environment;
    this.#downloader.check();
    this.#connector.tick();
    this.fetcher.requests.tick();
    this.pump();
    if (!this.#over) this.#stopTick = scheduler.after(TICK_INTERVAL, () => this.#tick());
  }

  #have(from: PeerId, indices: readonly number[]): void {
    const { peers, layout, chunks, have, environment, now } = this.state;
    const swarmPeer = peers.get(from);
    const isFree =
      swarmPeer !== undefined && peers.isFree(swarmPeer, now) && environment.requestWindow.isFree;
    let isNews = false;
    for (const index of indices) {
      if (index >= layout.count) {
        this.state.offended(from, `a have for chunk ${index}`);
        break;
      }
      if (swarmPeer !== undefined) peers.gained(swarmPeer, index);
      else if (!have.has(index)) this.state.addOtherHolder(index, from);
      if (isFree && this.state.isWanted(index)) isNews = true;
      if (!chunks.enter(index)) continue;
      isNews = true;
      this.state.progressed(); // more than a claim: the peer can be asked for it now, and is blamed if it lacks it
      this.fetcher.entered(index);
    }
    // One more holder changes nothing while the request window is full or this peer is busy.
    if (isNews) this.pump();
  }

  #attested(from: PeerId, message: Extract<SwarmMessage, { kind: 'attested' }>): void {
    const { owners, attestations, layout } = this.state;
    owners.grow(message.fetchGroup);
    if (this.state.fetchesWhole) this.state.fetchWhole();
    let isNews = false;
    for (const attestation of message.attestations) {
      if (attestation.index >= layout.count) {
        this.state.offended(from, `an attestation of chunk ${attestation.index}`);
        break;
      }
      if (attestations[attestation.index] !== undefined) {
        this.#haveBatcher.isKnown(attestation.index, from);
        continue;
      }
      if (!this.#learn(attestation, from)) break;
      isNews = true;
    }
    if (isNews) this.pump();
  }

  /** Keeps a new attestation, and passes it on. @returns false if it is forged */
  #learn(attestation: Attestation, from: PeerId): boolean {
    const { chunks, swarm, layout, environment, have, options } = this.state;
    const { index, by } = attestation;
    if (!this.state.isBelieved(by)) return true;
    if (!environment.isGenuine(attestation, swarm, layout.size)) {
      this.state.offended(from, 'news with a forged attestation');
      return false;
    }
    // A chunk of an earlier run is offered only with an attestation of its own hash.
    const hash = have.has(index) ? options.sink.hash(index) : undefined;
    if (hash !== undefined && !isSameHash(hash, attestation.hash)) {
      this.state.verdicts.contest(attestation);
      return true;
    }
    chunks.attest(attestation);
    this.state.heard();
    this.#haveBatcher.attested(attestation, from);
    if (chunks.enter(index)) this.fetcher.entered(index);
    return true;
  }

  /** A member has taken or released a claim at this node, the chunk's owner. */
  #claim({ held }: Extract<SwarmMessage, { kind: 'claim' }>): void {
    if (held) this.state.heard();
    else this.pump();
  }

  #present(index: number, from: PeerId | undefined): void {
    const { have } = this.state;
    if (have.has(index) || this.#over) return;
    this.state.chunks.arrive(index);
    this.state.progressed();
    this.state.otherHolders.delete(index);
    this.fetcher.entered(index);
    this.#downloader.settled(index);
    this.#haveBatcher.have(index);
    this.#options.onChunk(index, from);
    if (!have.full) return;
    this.stop();
    this.#options.onComplete();
  }

  /** Without upstream the pull goes on as long as peers have the missing chunks. */
  #upstreamFailed(error: WeirError): void {
    const { have, layout } = this.state;
    for (let i = have.firstClear(); i < layout.count; i = have.firstClear(i + 1)) {
      if (
        !this.state.isReachable(i) &&
        this.state.chunks.requests(i) === 0 &&
        !this.state.chunks.isWriting(i)
      ) {
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
