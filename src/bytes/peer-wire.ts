/**
 * The peer wire (docs/protocol.md): one connection for each pair of members carries all that they say about blobs, and the
 * blobs themselves. This is its part on the main thread; the sockets are in byte workers (peers-part.ts).
 *
 * ```
 * swarm ── send(), fetch() ──► PeerLink ──► PeerEnd ──► worker ──► member
 * swarm ◄── onMessage() ───────────────────◄ worker ◄── member
 * ChunkSource ◄── PeerServing ─────────────◄
 * ```
 *
 * A peer that opens a connection is admitted by {@link Admission}, before anything but its hello is read. A stranger is cut
 * off without an answer.
 */
import type { HttpListener } from '../http/exchange.ts';
import { SECOND } from '../util/clock.ts';
import { assertNever, isWeirError, WeirError } from '../util/errors.ts';
import { decodeSwarmMessage, encodeSwarmMessage } from '../protocol/codec.ts';
import type { Address, Member } from '../protocol/member.ts';
import type { SwarmMessage } from '../protocol/messages.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import { Admission, type Refusal } from '../transfer/admission.ts';
import type { ChunkClient, ChunkFetch, ChunkFetchEvents } from '../transfer/chunk-exchange.ts';
import { encodeFrame, HEAD_BYTES, KIND, type FrameKind } from '../transfer/frames.ts';
import { decodeConcerning, encodeHello, MINOR_VERSION } from '../transfer/wire-codec.ts';
import { Introductions } from './introductions.ts';
import { NO_FINGERPRINT, type PeerEnd } from './peer-end.ts';
import { giveBack } from './peer-answers.ts';
import { PeerLink, type LinkContext } from './peer-link.ts';
import { setLimits, shareLimits, type PeerRates, type SharedLimits } from './peer-limits.ts';
import { PeerQuestions, type AskOptions } from './peer-questions.ts';
import { PeerServing } from './peer-serving.ts';
import { PeerThreads, type EndEvent } from './peer-threads.ts';
import type { PeerWireOptions } from './peer-wire-options.ts';

/** Milliseconds in which a peer must take one buffer of 256 KiB: a slower one holds a slot that others want. */
const READER_TIMEOUT = 10 * SECOND;
/** Milliseconds since something was last said over a connection that was in use. */
const IN_USE = 30 * SECOND;
/** Bytes of frames after which a worker is told that they have been dealt with. */
const TOLD_AT = 32 * 1024;

export class PeerWire implements ChunkClient, AsyncDisposable {
  readonly #options: PeerWireOptions;
  readonly #admission: Admission;
  readonly #serving: PeerServing;
  readonly #questions: PeerQuestions;
  readonly #orders: PeerQuestions;
  readonly #threads: PeerThreads;
  readonly #links = new Map<PeerId, PeerLink>();
  readonly #context: LinkContext;
  readonly #limits: SharedLimits;
  #listeners: readonly HttpListener[] = [];
  #isClosed = false;

  private constructor(options: PeerWireOptions) {
    const { members, tls, self, source, clock, observer, workers } = options;
    this.#options = options;
    this.#limits = shareLimits(options.rates ?? {});
    this.#admission = new Admission(members, tls !== undefined);
    this.#serving = new PeerServing({
      source,
      clock,
      isBanned: (peer) => members.isBanned(peer),
      onServed: (report) => observer.served(report),
      onFlooded: (end) => this.#refuse('too-many', end),
    });
    const send = (peer: PeerId, frame: Uint8Array): void => this.#link(peer).send(frame);
    const { onQuestion, onOrder = async (): Promise<Uint8Array> => new Uint8Array() } = options;
    const [question, reply, order, progress] = [KIND.question, KIND.reply, KIND.order, KIND.progress];
    this.#questions = new PeerQuestions({ question, reply, send, answer: onQuestion, onBroken: breach });
    this.#orders = new PeerQuestions({
      question: order,
      reply: progress,
      send,
      answer: onOrder,
      onBroken: breach,
    });
    this.#context = {
      clock,
      member: (peer) => members.get(peer),
      obstacle: (member) => this.#obstacle(member),
      dial: (member) => this.#dial(member),
      introductions: new Introductions(options.introduce, clock),
      unreachable: (peer, error) => {
        this.#failQuestions(peer, error);
        options.onUnreachable(peer, error);
      },
      forget: (link) => this.#links.delete(link.peer),
    };
    this.#threads = new PeerThreads({
      workers,
      start: {
        kind: 'start',
        hello: encodeFrame(KIND.hello, encodeHello({ peer: self, minor: MINOR_VERSION })),
        tls,
        limits: this.#limits,
        readerTimeout: options.readerTimeout ?? READER_TIMEOUT,
      },
      onAccepted: (end) => this.#onAccepted(end),
      onEvent: (end, event) => this.#onEvent(end, event),
      onWarning: options.onWarning,
    });
  }

  /** @throws WeirError `address_in_use` */
  static async open(options: PeerWireOptions): Promise<PeerWire> {
    const wire = new PeerWire(options);
    try {
      wire.#listeners = await wire.#threads.listen(options.listen, 'transfer.listen');
      return wire;
    } catch (error) {
      await wire[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** The addresses that it listens on, with the ports that the system gave. */
  get addresses(): readonly Address[] {
    return this.#listeners.map(({ host, port }) => ({ host, port }));
  }

  /** Connections to members. */
  get connections(): number {
    return this.#threads.connections;
  }

  /** Whether a message to this peer needs no new connection: there is one, or it is being made. */
  isConnected(peer: PeerId): boolean {
    return this.#links.get(peer)?.isConnected === true;
  }

  /** If the peer cannot be reached, the message is lost. Never throws, never waits. */
  send(peer: PeerId, message: SwarmMessage): void {
    if (this.#isClosed || this.#options.members.isBanned(peer)) return;
    this.#link(peer).send(encodeFrame(KIND.message, encodeSwarmMessage(message)));
  }

  /** @throws WeirError as {@link PeerQuestions.ask}; `peer_refused` if it is banned */
  async ask(peer: PeerId, question: Uint8Array, options: AskOptions): Promise<Uint8Array> {
    this.#checkAskable(peer);
    return await this.#questions.ask(peer, question, options);
  }

  /** Gives an order, or asks for its progress. @throws WeirError as {@link ask}; `peer_stalled` also by older versions */
  async order(peer: PeerId, order: Uint8Array, options: AskOptions): Promise<Uint8Array> {
    this.#checkAskable(peer);
    return await this.#orders.ask(peer, order, options);
  }

  fetch({ peer }: Pick<Member, 'peer'>, request: ChunkFetch, events: ChunkFetchEvents): () => void {
    return this.#link(peer).fetch(request, events);
  }

  /** Changes the limits, also of what is under way. */
  limit(rates: PeerRates): void {
    setLimits(this.#limits, rates);
  }

  /** Closes all connections to this peer. */
  drop(peer: PeerId, reason: WeirError): void {
    this.#links.get(peer)?.drop(reason);
  }

  /** Ends all requests and connections at once. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#admission[Symbol.dispose]();
    for (const link of this.#links.values()) link.drop(closed());
    this.#links.clear();
    await Promise.all(this.#listeners.map((listener) => listener[Symbol.asyncDispose]()));
    this.#threads.stop();
  }

  #checkAskable(peer: PeerId): void {
    if (this.#isClosed) throw closed();
    if (this.#options.members.isBanned(peer)) throw new WeirError('peer_refused', `${peer} is banned`);
  }

  #failQuestions(peer: PeerId, error: WeirError): void {
    this.#questions.fail(peer, error);
    this.#orders.fail(peer, error);
  }

  #isOtherZone(peer: PeerId): boolean {
    return this.#options.isOtherZone?.(peer) === true;
  }

  #link(peer: PeerId): PeerLink {
    let link = this.#links.get(peer);
    if (link === undefined) this.#links.set(peer, (link = new PeerLink(peer, this.#context)));
    return link;
  }

  /** The reason why this node cannot connect to the member. */
  #obstacle(member: Member | undefined): WeirError | undefined {
    if (this.#isClosed) return closed();
    if (member === undefined) return new WeirError('peer_unreachable', 'it is not known');
    const { peer, fingerprint, dataAddresses } = member;
    const { tls } = this.#options;
    const because = (problem: string): WeirError => new WeirError('peer_unreachable', `${peer}: ${problem}`);
    if (fingerprint.length > 0 && tls === undefined) {
      return because('it serves with TLS alone, and TLS is off here');
    }
    if (fingerprint.length === 0 && tls !== undefined) {
      return because('it serves without TLS, which is on here');
    }
    return dataAddresses.length === 0 ? because('it names no data address') : undefined;
  }

  #dial(member: Member): PeerEnd {
    const end = this.#threads.dial(member, this.#isOtherZone(member.peer));
    end.onClose((error) => this.#closed(end, member.peer, error));
    return end;
  }

  #onEvent(end: PeerEnd, event: EndEvent): void {
    const link = end.peer === undefined ? undefined : this.#links.get(end.peer);
    if (event.kind === 'answered') {
      link?.progressed(end, event.id, event.bytes);
      // Also if nobody wants it any more: its memory is given back.
      if (link?.answered(end, event.id, event.answer) !== true) giveBack(end, event.answer);
      return;
    }
    if (end.isOver) return;
    switch (event.kind) {
      case 'greeted':
        return this.#onGreeted(end, event);
      case 'open':
        return this.#onOpen(end, event.hello.peer);
      case 'connecting':
        return link?.connecting();
      case 'acknowledged':
        return link?.acknowledged(end, event.id);
      case 'progressed':
        return link?.progressed(end, event.id, event.bytes);
      case 'frame':
        return this.#onFrame(end, event);
      default:
        assertNever(event);
    }
  }

  #onAccepted(end: PeerEnd): void {
    if (this.#isClosed) return end.destroy();
    if (!this.#admission.begin(end)) this.#refuse('too-many', end);
  }

  #onGreeted(end: PeerEnd, { hello: { peer }, certificate }: Extract<EndEvent, { kind: 'greeted' }>): void {
    const verdict = this.#admission.admit(end, peer, certificate);
    if ('refused' in verdict) return this.#refuse(verdict.refused, end);
    end.peer = peer;
    end.fingerprint = certificate?.fingerprint ?? NO_FINGERPRINT;
    end.order({ kind: 'admit', isOtherZone: this.#isOtherZone(peer) });
    end.onClose((error) => this.#closed(end, peer, error));
    this.#opened(end, peer);
  }

  /** A member that this node has dialled greets back. */
  #onOpen(end: PeerEnd, greeted: PeerId): void {
    const { peer } = end;
    if (peer === greeted) return this.#opened(end, peer);
    breach(end, new WeirError('peer_protocol', `it greets as ${greeted}`));
  }

  #opened(end: PeerEnd, peer: PeerId): void {
    end.isOpen = true;
    this.#options.onReached(peer);
    this.#link(peer).opened(end);
  }

  #onFrame(end: PeerEnd, { frame, body }: Extract<EndEvent, { kind: 'frame' }>): void {
    const { peer } = end;
    if (peer === undefined) return;
    end.usedAt = this.#options.clock.monotonic();
    end.untold += HEAD_BYTES + body.length;
    if (end.untold >= TOLD_AT) {
      end.order({ kind: 'taken', bytes: end.untold });
      end.untold = 0;
    }
    try {
      this.#take(end, peer, frame, body);
    } catch (error) {
      if (!isWeirError(error, 'peer_protocol')) throw error;
      breach(end, error);
    }
  }

  /** @throws WeirError `peer_protocol` */
  #take(end: PeerEnd, peer: PeerId, frame: FrameKind, body: Uint8Array): void {
    if (frame === KIND.request) return this.#serving.request(end, peer, body);
    if (frame === KIND.cancel) return this.#serving.cancel(end, decodeConcerning(body));
    if (frame === KIND.question) return this.#questions.onQuestion(end, peer, body);
    if (frame === KIND.reply) return this.#questions.onReply(peer, body);
    if (frame === KIND.order) return this.#orders.onQuestion(end, peer, body);
    if (frame === KIND.progress) return this.#orders.onReply(peer, body);
    const message = decodeSwarmMessage(body);
    if (message !== undefined) this.#options.onMessage(peer, message);
  }

  #closed(end: PeerEnd, peer: PeerId, error: WeirError): void {
    const { onBroken, onUnreachable, onGone, clock } = this.#options;
    this.#failQuestions(peer, error);
    const wasInUse = clock.monotonic() - end.usedAt < IN_USE;
    const isDialled = this.#links.get(peer)?.closed(end, error) === 'dialled';
    if (this.#isClosed || isDialled) return;
    if (error.code === 'peer_protocol') onBroken(peer, error);
    else if (error.code === 'peer_stalled') onUnreachable(peer, error);
    else if (error.code === 'peer_cut' && wasInUse) onGone(peer);
  }

  #refuse(reason: Refusal, end: PeerEnd): void {
    this.#options.observer.refused(reason, end.remoteAddress);
    end.destroy();
  }
}

/** The peer has broken the protocol. */
function breach(end: PeerEnd, error: WeirError): void {
  end.destroy();
  end.closed(error);
}

function closed(): WeirError {
  return new WeirError('aborted', 'the peer wire is closed');
}
