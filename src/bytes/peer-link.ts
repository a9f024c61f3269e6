/**
 * What this node has to say to one member, and the connections over which it says it: one as a rule, two if both sides have
 * dialled at the same time. The first message or request opens one.
 *
 * A request whose connection was closed before an answer began is sent once more: the other side may have closed it for
 * being idle. A member that closes a new connection without a greeting may not know this node yet: it is sent this node's
 * record, and dialled once more. The caller acts on all other failures.
 */
import type { Clock } from '../util/clock.ts';
import { isWeirError, WeirError } from '../util/errors.ts';
import type { Member } from '../protocol/member.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import type { ChunkFetch, ChunkFetchEvents } from '../transfer/chunk-exchange.ts';
import { encodeFrame, KIND } from '../transfer/frames.ts';
import { LIMITS } from '../transfer/limits.ts';
import { encodeConcerning, encodeRequest } from '../transfer/wire-codec.ts';
import type { ReceivedAnswer } from './chunk-receiver.ts';
import type { Introductions } from './introductions.ts';
import { fromWorker, giveBack, problemOf } from './peer-answers.ts';
import type { PeerEnd } from './peer-end.ts';

/** Requests that wait for a connection; far more than the swarm sends to one member. */
const MAX_WAITING = 256;
/** Messages and bytes that wait for one. */
const MAX_MESSAGES = 512;
const MAX_MESSAGE_BYTES = 256 * 1024;

export interface LinkContext {
  readonly clock: Clock;
  /** The member as it is known now. */
  member(peer: PeerId): Member | undefined;
  /** The reason why this node cannot connect to the member. */
  obstacle(member: Member | undefined): WeirError | undefined;
  dial(member: Member): PeerEnd;
  readonly introductions: Introductions;
  /** All that waited for it is dropped. */
  unreachable(peer: PeerId, error: WeirError): void;
  /** Nothing is left of it. */
  forget(link: PeerLink): void;
}

interface Task {
  readonly request: ChunkFetch;
  readonly events: ChunkFetchEvents;
  /** Where it was sent, and under which number. */
  sent: { readonly end: PeerEnd; readonly id: number } | undefined;
  isBegun: boolean;
  isRetried: boolean;
  isOver: boolean;
}

export class PeerLink {
  readonly peer: PeerId;
  readonly #context: LinkContext;
  /** Over which something can be said. */
  readonly #ends: PeerEnd[] = [];
  #dialled: PeerEnd | undefined;
  #isConnecting = false;
  readonly #waiting: Task[] = [];
  /** By end and number. */
  readonly #tasks = new Map<PeerEnd, Map<number, Task>>();
  readonly #nextIds = new WeakMap<PeerEnd, number>();
  #messages: Uint8Array[] = [];
  #messageBytes = 0;
  #isIntroducing = false;
  #isScheduled = false;

  constructor(peer: PeerId, context: LinkContext) {
    this.peer = peer;
    this.#context = context;
  }

  /** Whether there is a connection, or one is being made. */
  get isConnected(): boolean {
    return this.#ends.length > 0 || this.#dialled !== undefined;
  }

  /** Never throws, never waits. @param frames whole frames */
  send(frames: Uint8Array): void {
    this.#messages.push(frames);
    this.#messageBytes += frames.length;
    if (this.#messages.length > MAX_MESSAGES || this.#messageBytes > MAX_MESSAGE_BYTES) {
      this.#fail(new WeirError('peer_stalled', `too much waits for a connection to ${this.peer}`));
    } else this.#schedule();
  }

  /** @returns cancels the request; no event comes after that */
  fetch(request: ChunkFetch, events: ChunkFetchEvents): () => void {
    const task: Task = { request, events, sent: undefined, isBegun: false, isRetried: false, isOver: false };
    if (this.#waiting.length >= MAX_WAITING) {
      const error = new WeirError('peer_unreachable', `${MAX_WAITING} requests wait for a connection`);
      queueMicrotask(() => fail(task, error));
    } else {
      this.#waiting.push(task);
      if (this.#isConnecting) queueMicrotask(() => !task.isOver && events.connecting());
      this.#schedule();
    }
    return () => this.#cancel(task);
  }

  /** A connection is there: one that the member has opened, or the one that was dialled. */
  opened(end: PeerEnd): void {
    if (end === this.#dialled) this.#endDial();
    this.#context.introductions.settle(this.peer);
    this.#ends.push(end);
    this.#schedule();
  }

  /** The dial has left its queue. */
  connecting(): void {
    this.#isConnecting = true;
    for (const { events } of this.#waiting) events.connecting();
  }

  /** @returns whether it was open, or only being made */
  closed(end: PeerEnd, error: WeirError): 'open' | 'dialled' {
    if (end === this.#dialled) {
      this.#endDial();
      this.#dialFailed(error);
      return 'dialled';
    }
    const at = this.#ends.indexOf(end);
    if (at !== -1) this.#ends.splice(at, 1);
    const tasks = [...(this.#tasks.get(end)?.values() ?? [])];
    this.#tasks.delete(end);
    for (const task of tasks) {
      const again = !task.isBegun && !task.isRetried && isWeirError(error, 'peer_cut', 'aborted');
      task.isRetried = true;
      task.sent = undefined;
      if (again) this.#waiting.unshift(task);
      else fail(task, error);
    }
    this.#schedule();
    return 'open';
  }

  acknowledged(end: PeerEnd, id: number): void {
    const task = this.#tasks.get(end)?.get(id);
    if (task === undefined) return;
    task.isBegun = true;
    task.events.acknowledged();
  }

  progressed(end: PeerEnd, id: number, bytes: number): void {
    const task = this.#tasks.get(end)?.get(id);
    if (bytes > 0) task?.events.progressed(bytes);
  }

  /** @returns false if nobody wants it any more */
  answered(end: PeerEnd, id: number, answer: ReceivedAnswer): boolean {
    const task = this.#tasks.get(end)?.get(id);
    if (task === undefined) return false;
    this.#tasks.get(end)?.delete(id);
    this.#schedule();
    const problem = problemOf(task.request, answer);
    if (problem === undefined && answer.kind !== 'failed') {
      task.isOver = true;
      task.events.answered(fromWorker(end, answer));
      return true;
    }
    giveBack(end, answer);
    fail(task, problem ?? new WeirError('peer_cut', 'the peer failed'));
    return true;
  }

  /** Closes all connections, and fails all that is under way. */
  drop(reason: WeirError): void {
    const ends = [...this.#ends.splice(0), ...(this.#dialled === undefined ? [] : [this.#dialled])];
    this.#endDial();
    const tasks = this.#waiting.splice(0);
    for (const byId of this.#tasks.values()) tasks.push(...byId.values());
    this.#tasks.clear();
    for (const end of ends) end.destroy();
    for (const task of tasks) fail(task, reason);
    this.#messages = [];
    this.#messageBytes = 0;
    this.#schedule();
  }

  #cancel(task: Task): void {
    if (task.isOver) return;
    task.isOver = true;
    const at = this.#waiting.indexOf(task);
    if (at !== -1) this.#waiting.splice(at, 1);
    this.#schedule();
    const { sent } = task;
    if (sent === undefined) return;
    this.#tasks.get(sent.end)?.delete(sent.id);
    sent.end.order({
      kind: 'cancel',
      id: sent.id,
      frame: encodeFrame(KIND.cancel, encodeConcerning(sent.id)),
    });
  }

  /** Callers get no event before their call has returned. */
  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    queueMicrotask(() => {
      this.#isScheduled = false;
      this.#pump();
    });
  }

  #pump(): void {
    const hasWork = this.#waiting.length + this.#messages.length > 0;
    const end = this.#best();
    if (end !== undefined) return this.#pumpInto(end);
    if (!hasWork) {
      // A dial that waits for its turn would keep others waiting.
      if (this.#dialled !== undefined && !this.#isConnecting) {
        this.#dialled.destroy();
        this.#endDial();
      }
      if (this.#isIdle) this.#context.forget(this);
      return;
    }
    if (this.#dialled !== undefined || this.#isIntroducing) return;
    const member = this.#context.member(this.peer);
    const obstacle = this.#context.obstacle(member);
    if (member === undefined || obstacle !== undefined) {
      return this.#fail(obstacle ?? new WeirError('peer_unreachable', `${this.peer} is not known`));
    }
    this.#dialled = this.#context.dial(member);
  }

  /** Nothing is left to be done, not even over a connection that is retired. */
  get #isIdle(): boolean {
    if (this.#dialled !== undefined || this.#isIntroducing) return false;
    return this.#tasks.values().every(({ size }) => size === 0);
  }

  #pumpInto(end: PeerEnd): void {
    end.usedAt = this.#context.clock.monotonic();
    for (const frames of this.#messages) end.order({ kind: 'write', frames });
    this.#messages = [];
    this.#messageBytes = 0;
    let tasks = this.#tasks.get(end);
    if (tasks === undefined) this.#tasks.set(end, (tasks = new Map()));
    while (tasks.size < LIMITS.requests) {
      const task = this.#waiting.shift();
      if (task === undefined) return;
      const id = this.#nextIds.get(end) ?? 0;
      this.#nextIds.set(end, id + 1);
      task.sent = { end, id };
      tasks.set(id, task);
      const { range } = task.request;
      const frame = encodeFrame(KIND.request, encodeRequest(id, task.request));
      end.order({ kind: 'request', id, frame, length: range && range.end - range.start });
      task.events.sent();
    }
  }

  /**
   * Of two, the one that this node has dialled: what comes over it costs less to read (transfer/dial.ts). A connection to
   * an earlier run of the member, which had another certificate, is not used any more.
   */
  #best(): PeerEnd | undefined {
    const member = this.#context.member(this.peer);
    for (const end of this.#ends.slice()) {
      const isCurrent = member === undefined || Buffer.compare(end.fingerprint, member.fingerprint) === 0;
      if (isCurrent && !end.isOver) continue;
      this.#ends.splice(this.#ends.indexOf(end), 1);
      end.order({ kind: 'retire' });
    }
    return this.#ends.find(({ hasDialled }) => hasDialled) ?? this.#ends[0];
  }

  #endDial(): void {
    this.#dialled = undefined;
    this.#isConnecting = false;
  }

  #dialFailed(error: WeirError): void {
    if (this.#best() !== undefined) return this.#schedule(); // the member has dialled meanwhile
    if (!isWeirError(error, 'peer_cut')) return this.#fail(error);
    const introduction = this.#context.introductions.begin(this.peer);
    if (introduction === undefined) {
      return this.#fail(new WeirError('peer_cut', `${this.peer} refuses this node`));
    }
    void this.#introduce(introduction);
  }

  async #introduce(introduction: Promise<void>): Promise<void> {
    this.#isIntroducing = true;
    await introduction;
    this.#isIntroducing = false;
    this.#schedule();
  }

  /** Nothing that waits will be said. */
  #fail(error: WeirError): void {
    const hadWork = this.#waiting.length + this.#messages.length > 0;
    this.#messages = [];
    this.#messageBytes = 0;
    for (const task of this.#waiting.splice(0)) fail(task, error);
    this.#schedule();
    if (hadWork && !isWeirError(error, 'aborted', 'worker_lost')) this.#context.unreachable(this.peer, error);
  }
}

function fail(task: Task, error: WeirError): void {
  if (task.isOver) return;
  task.isOver = true;
  task.events.failed(error);
}
