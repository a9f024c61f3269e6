/**
 * The connections to one member, and the requests that wait for one. A request that was cut off before a byte of its
 * answer came is sent once more, over a new connection: the old one may have been idle for too long, or the member
 * did not know this node yet. The caller acts on all other failures.
 */
import type { SecureContext } from 'node:tls';
import type PQueue from 'p-queue';
import { SECOND, type Clock } from '../util/clock.ts';
import { toWeirError, WeirError } from '../util/errors.ts';
import type { Address, Member } from '../protocol/member.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import { MemberConnection, type ConnectionOwner } from './member-connection.ts';
import { dial } from './dial.ts';
import type { ChunkReceiver } from './chunk-receiver.ts';
import type { TokenBucket } from '../util/token-bucket.ts';

/**
 * Connections that one byte worker makes at a time, to all members. A handshake costs some milliseconds of CPU at both ends; if
 * CPU is short, many handshakes at once would all exceed their time limit.
 */
export const DIALS_AT_ONCE = 8;
/** Connections to one member: the swarm has 7 requests to it in flight; one more is for a manifest. */
const MAX_CONNECTIONS = 8;
/** Milliseconds that an idle connection is kept: longer than the pauses between chunks of one image. */
const IDLE_TIMEOUT = 30 * SECOND;
/** Milliseconds that an unused connection is kept: the member closes it after 15 s, perhaps as this node asks. */
const UNUSED_TIMEOUT = 7.5 * SECOND;
/** Requests that wait for a connection; far more than the swarm sends to one member. */
const MAX_WAITING = 256;
/** Milliseconds before this node sends its record again to a member that cuts it off. */
const INTRODUCE_AGAIN = 10 * SECOND;

/** What has to be known of a member to connect to it. */
export type DialTarget = Pick<Member, 'peer' | 'dataAddresses' | 'fingerprint'>;

export interface ConnectionContext {
  /** Presents this node's certificate; undefined: plain TCP. */
  readonly tls: SecureContext | undefined;
  readonly limit: TokenBucket | undefined;
  readonly clock: Clock;
  /** Queue of the dials to all members. */
  readonly dials: PQueue;
  /** Sends this node's record to the member; never rejects. */
  readonly introduce: (peer: PeerId) => Promise<void>;
  /** The last connection has closed, and no request waits. */
  readonly onIdle: (connections: MemberConnections) => void;
}

export interface Task {
  readonly receiver: ChunkReceiver;
  /** The request as it is sent. */
  readonly text: string;
  retried: boolean;
}

export class MemberConnections implements ConnectionOwner {
  readonly member: DialTarget;
  readonly #context: ConnectionContext;
  readonly #idle: MemberConnection[] = [];
  readonly #busy = new Map<MemberConnection, Task>();
  readonly #waiting: Task[] = [];
  readonly #over = new AbortController();
  /** Dials, with those that wait for their turn; and dials that are being made. */
  #dialling = 0;
  #connecting = 0;
  /** Requests that wait for an introduction. */
  #repeating = 0;
  #retired = false;
  /** The address that answered last. */
  #best: Address | undefined;
  #again: { readonly at: number; readonly done: Promise<void> } | undefined;

  constructor(member: DialTarget, context: ConnectionContext) {
    this.member = member;
    this.#context = context;
  }

  get isIdle(): boolean {
    return this.#connections === 0 && this.#waiting.length + this.#repeating === 0;
  }

  get #connections(): number {
    return this.#idle.length + this.#busy.size + this.#dialling;
  }

  run(task: Task): void {
    if (this.#waiting.length >= MAX_WAITING) {
      const error = new WeirError('peer_unreachable', `${MAX_WAITING} requests wait for a connection`);
      queueMicrotask(() => task.receiver.fail(error));
      return;
    }
    this.#waiting.push(task);
    if (this.#connecting > 0) task.receiver.connecting();
    this.#pump();
  }

  /** Ends the request. With HTTP/1.1 that costs its connection. */
  cancel(task: Task): void {
    task.receiver.cancel();
    const at = this.#waiting.indexOf(task);
    if (at !== -1) this.#waiting.splice(at, 1);
    for (const [connection, current] of this.#busy) if (current === task) connection.destroy();
  }

  /** Takes no new requests; those under way are finished. */
  retire(): void {
    this.#retired = true;
    for (const connection of this.#idle) connection.destroy();
  }

  /** Ends all requests at once. */
  close(): void {
    const error = new WeirError('aborted', 'the data client is closed');
    this.#over.abort(error);
    const tasks = [...this.#waiting.splice(0), ...this.#busy.values()];
    for (const { receiver } of tasks) receiver.fail(error);
    for (const connection of [...this.#idle, ...this.#busy.keys()]) connection.destroy();
  }

  #pump(): void {
    while (this.#waiting.length > 0) {
      const connection = this.#idle.pop();
      if (connection === undefined) break;
      const task = connection.closed ? undefined : this.#waiting.shift();
      if (task === undefined) continue;
      this.#busy.set(connection, task);
      connection.send(task.receiver, task.text);
    }
    // One dial at first: otherwise a dead member with several requests would take all places in the queue of dials.
    const most = this.#idle.length + this.#busy.size > 0 ? MAX_CONNECTIONS : 1;
    while (this.#dialling < this.#waiting.length && this.#connections < most) void this.#dial();
  }

  /** Never rejects. */
  async #dial(): Promise<void> {
    this.#dialling += 1;
    let failure: WeirError | undefined;
    try {
      await this.#context.dials.add(() => this.#connect(), { signal: this.#over.signal });
    } catch (error) {
      failure = toWeirError(error);
    }
    this.#dialling -= 1;
    if (failure !== undefined) this.#failWaiting(failure);
    this.#pump();
    this.#reportIdle();
  }

  /** @throws WeirError as {@link dial} */
  async #connect(): Promise<void> {
    if (this.#waiting.length === 0) return; // given up, or sent over another connection, while this dial waited
    const { tls, limit, clock } = this.#context;
    for (const { receiver } of this.#waiting) receiver.connecting();
    const { fingerprint } = this.member;
    const expected = tls && { fingerprint, context: tls };
    this.#connecting += 1;
    try {
      const { wire, address } = await dial(this.#addresses(), expected, clock, { signal: this.#over.signal });
      this.#best = address;
      const connection = new MemberConnection(wire, this, limit, clock);
      this.#idle.push(connection);
      connection.rest(UNUSED_TIMEOUT);
    } finally {
      this.#connecting -= 1;
    }
  }

  #addresses(): readonly Address[] {
    const all = this.member.dataAddresses;
    const best = this.#best;
    return best === undefined ? all : [best, ...all.filter((address) => address !== best)];
  }

  /** Fails one waiting request after a failed dial; all of them if there is no connection at all. */
  #failWaiting(error: WeirError): void {
    const count = this.#connections === 0 ? this.#waiting.length : 1;
    for (const { receiver } of this.#waiting.splice(0, count)) receiver.fail(error);
  }

  finished(connection: MemberConnection, receiver: ChunkReceiver): void {
    this.#busy.delete(connection);
    if (this.#retired && this.#waiting.length === 0) connection.destroy();
    if (!connection.closed) {
      this.#idle.push(connection);
      connection.rest(IDLE_TIMEOUT);
    }
    this.#again = undefined; // the member knows this node
    this.#pump();
    receiver.deliver();
  }

  closed(connection: MemberConnection, error: WeirError): void {
    const task = this.#busy.get(connection);
    this.#busy.delete(connection);
    const at = this.#idle.indexOf(connection);
    if (at !== -1) this.#idle.splice(at, 1);
    if (task !== undefined && !task.receiver.over) this.#cut(task, connection.answered === 0, error);
    this.#pump();
    this.#reportIdle();
  }

  #cut(task: Task, isFresh: boolean, error: WeirError): void {
    const { receiver } = task;
    if (task.retried || receiver.begun || this.#over.signal.aborted) return receiver.fail(error);
    task.retried = true;
    if (isFresh) {
      void this.#repeat(task);
      return;
    }
    // The member closed it while it was idle, and may have closed the other idle ones, too.
    for (const other of this.#idle.splice(0)) other.destroy();
    this.#waiting.unshift(task);
  }

  /** Sends a request again after the member has got this node's record. Never rejects. */
  async #repeat(task: Task): Promise<void> {
    const { clock, introduce } = this.#context;
    const now = clock.monotonic();
    this.#repeating += 1;
    if (this.#again === undefined || now - this.#again.at > INTRODUCE_AGAIN) {
      this.#again = { at: now, done: introduce(this.member.peer) };
    }
    await this.#again.done;
    this.#repeating -= 1;
    if (this.#over.signal.aborted) task.receiver.fail(toWeirError(this.#over.signal.reason));
    else if (!task.receiver.over) this.run(task);
    this.#reportIdle();
  }

  #reportIdle(): void {
    if (this.isIdle) this.#context.onIdle(this);
  }
}
