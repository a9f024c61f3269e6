/**
 * The connections to one member, and the requests that wait for one. A request that was cut off before anything of an
 * answer came is sent once more, over a new connection: the old one may have been idle for too long, or the other side
 * did not know us yet. All other failures are the caller's to act on.
 */
import type { SecureContext } from 'node:tls';
import type PQueue from 'p-queue';
import { SECOND, type Clock } from '../util/clock.ts';
import { toWeirError, WeirError } from '../util/errors.ts';
import type { Address, Member } from '../protocol/member.ts';
import { MemberConnection, type ConnectionOwner } from './member-connection.ts';
import { dial } from './dial.ts';
import type { ChunkReceiver } from './chunk-receiver.ts';
import type { TokenBucket } from '../util/token-bucket.ts';

/**
 * Connections that are made at one time, to all members: a handshake costs some milliseconds of CPU at both ends, and
 * where that is short many side by side all last for longer than they may.
 */
export const DIALS_AT_ONCE = 8;
/** The swarm has 7 requests to one member in flight; one more for a manifest. */
const MAX_CONNECTIONS = 8;
/** Milliseconds that an idle connection is kept: chunks of one image come closer together. */
const IDLE_TIMEOUT = 30 * SECOND;
/** The same of one over which nothing was asked yet: the other side closes it after 15 s, perhaps as we ask. */
const UNUSED_TIMEOUT = 7.5 * SECOND;
/** Requests that wait for a connection; far above what the swarm asks of one member. */
const MAX_WAITING = 256;
/** Milliseconds before a member that cuts us off is told again who we are. */
const INTRODUCE_AGAIN = 10 * SECOND;

export interface ConnectionContext {
  /** Presents the own certificate; undefined: plain TCP. */
  readonly tls: SecureContext | undefined;
  readonly limit: TokenBucket | undefined;
  readonly clock: Clock;
  /** Of the dials to all members. */
  readonly dials: PQueue;
  /** Makes ourselves known to the member; never rejects. */
  readonly introduce: (member: Member) => Promise<void>;
  /** The last connection has closed, and nothing waits. */
  readonly onIdle: (connections: MemberConnections) => void;
}

export interface Task {
  readonly reception: ChunkReceiver;
  /** The request as it is sent. */
  readonly text: string;
  retried: boolean;
}

export class MemberConnections implements ConnectionOwner {
  readonly member: Member;
  readonly #context: ConnectionContext;
  readonly #idle: MemberConnection[] = [];
  readonly #busy = new Map<MemberConnection, Task>();
  readonly #waiting: Task[] = [];
  readonly #over = new AbortController();
  /** Dials, those that wait for their turn among them; and those that have it. */
  #dialling = 0;
  #connecting = 0;
  /** Requests that wait for an introduction. */
  #repeating = 0;
  #retired = false;
  /** The address that answered last. */
  #best: Address | undefined;
  #again: { readonly at: number; readonly done: Promise<void> } | undefined;

  constructor(member: Member, context: ConnectionContext) {
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
      queueMicrotask(() => task.reception.fail(error));
      return;
    }
    this.#waiting.push(task);
    if (this.#connecting > 0) task.reception.connecting();
    this.#pump();
  }

  /** Ends the request. With HTTP/1.1 that costs its connection. */
  cancel(task: Task): void {
    task.reception.cancel();
    const at = this.#waiting.indexOf(task);
    if (at !== -1) this.#waiting.splice(at, 1);
    for (const [connection, current] of this.#busy) if (current === task) connection.destroy();
  }

  /** Takes no new requests; what is under way ends first. */
  retire(): void {
    this.#retired = true;
    for (const connection of this.#idle) connection.destroy();
  }

  /** Ends all at once. */
  close(): void {
    const error = new WeirError('aborted', 'the data client is closed');
    this.#over.abort(error);
    const tasks = [...this.#waiting.splice(0), ...this.#busy.values()];
    for (const { reception } of tasks) reception.fail(error);
    for (const connection of [...this.#idle, ...this.#busy.keys()]) connection.destroy();
  }

  #pump(): void {
    while (this.#waiting.length > 0) {
      const connection = this.#idle.pop();
      if (connection === undefined) break;
      const task = connection.closed ? undefined : this.#waiting.shift();
      if (task === undefined) continue;
      this.#busy.set(connection, task);
      connection.send(task.reception, task.text);
    }
    // One that is dead would take all turns of the dials for several requests.
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
    if (this.#waiting.length === 0) return; // given up, or sent over another one, while this waited for its turn
    const { tls, limit, clock } = this.#context;
    for (const { reception } of this.#waiting) reception.connecting();
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

  /** One, for which there is no connection; all, where there is none whatever. */
  #failWaiting(error: WeirError): void {
    const count = this.#connections === 0 ? this.#waiting.length : 1;
    for (const { reception } of this.#waiting.splice(0, count)) reception.fail(error);
  }

  finished(connection: MemberConnection, reception: ChunkReceiver): void {
    this.#busy.delete(connection);
    if (this.#retired && this.#waiting.length === 0) connection.destroy();
    if (!connection.closed) {
      this.#idle.push(connection);
      connection.rest(IDLE_TIMEOUT);
    }
    this.#again = undefined; // it knows us
    this.#pump();
    reception.deliver();
  }

  closed(connection: MemberConnection, error: WeirError): void {
    const task = this.#busy.get(connection);
    this.#busy.delete(connection);
    const at = this.#idle.indexOf(connection);
    if (at !== -1) this.#idle.splice(at, 1);
    if (task !== undefined && !task.reception.over) this.#cut(task, connection.answered === 0, error);
    this.#pump();
    this.#reportIdle();
  }

  #cut(task: Task, isFresh: boolean, error: WeirError): void {
    const { reception } = task;
    if (task.retried || reception.begun || this.#over.signal.aborted) return reception.fail(error);
    task.retried = true;
    if (isFresh) {
      void this.#repeat(task);
      return;
    }
    // It was idle while the other side closed it, and so may the others have been.
    for (const other of this.#idle.splice(0)) other.destroy();
    this.#waiting.unshift(task);
  }

  /** Sends a request again once the member has been told who asks. Never rejects. */
  async #repeat(task: Task): Promise<void> {
    const { clock, introduce } = this.#context;
    const now = clock.monotonic();
    this.#repeating += 1;
    if (this.#again === undefined || now - this.#again.at > INTRODUCE_AGAIN) {
      this.#again = { at: now, done: introduce(this.member) };
    }
    await this.#again.done;
    this.#repeating -= 1;
    if (this.#over.signal.aborted) task.reception.fail(toWeirError(this.#over.signal.reason));
    else if (!task.reception.over) this.run(task);
    this.#reportIdle();
  }

  #reportIdle(): void {
    if (this.isIdle) this.#context.onIdle(this);
  }
}
