/** A connection to a member, and all connections of one byte worker, as the main thread sees them. */
import type { PeerId } from '../protocol/peer-id.ts';
import type { WeirError } from '../util/errors.ts';
import type { ByteThread } from './byte-workers.ts';
import type { ConnectionOrder } from './peers-messages.ts';

/** An order without the number of its connection. */
type Order<Each = ConnectionOrder> = Each extends unknown ? Omit<Each, 'connection'> : never;

export const NO_FINGERPRINT = new Uint8Array();

/** A chunk that this end is sending. */
export interface Serving {
  /** Tells that nothing of it is read any more. */
  readonly done: (sent: number, error: Error | undefined) => void;
  /** The peer does not want it any more, or is gone. */
  readonly gone: AbortController;
}

/** The connections of one worker. Orders of one turn of the event loop travel together. */
export class PeerThread {
  readonly thread: ByteThread;
  /** By their number in the worker. */
  readonly ends = new Map<number, PeerEnd>();
  #orders: ConnectionOrder[] = [];

  constructor(thread: ByteThread) {
    this.thread = thread;
  }

  order(order: ConnectionOrder): void {
    if (this.#orders.length === 0) setImmediate(() => this.#flush());
    this.#orders.push(order);
  }

  #flush(): void {
    const orders = joinWrites(this.#orders);
    this.#orders = [];
    this.thread.post('peers', { kind: 'orders', orders });
  }
}

export class PeerEnd {
  /** The address of the peer; empty if this node has dialled. */
  readonly remoteAddress: string;
  readonly hasDialled: boolean;
  readonly id: number;
  readonly serving = new Map<number, Serving>();
  /** Known once it is admitted, or dialled. */
  peer: PeerId | undefined;
  /** sha256 of the peer's certificate; empty without TLS. */
  fingerprint: Uint8Array = NO_FINGERPRINT;
  /** The largest number of a request that the peer has sent. */
  lastRequest = -1;
  /** Bytes of frames that the worker has not been told of. */
  untold = 0;
  /** Milliseconds, monotonic: when something was last said; before anything was, never. */
  usedAt = Number.NEGATIVE_INFINITY;
  /** Both sides have greeted. */
  isOpen = false;
  readonly #thread: PeerThread;
  readonly #closed: ((error: WeirError) => void)[] = [];
  #isOver = false;

  constructor(thread: PeerThread, id: number, remoteAddress = '') {
    this.#thread = thread;
    this.id = id;
    this.remoteAddress = remoteAddress;
    this.hasDialled = id % 2 === 0;
    thread.ends.set(id, this);
  }

  /** It is closed, or is being closed: what still comes from it does not count. */
  get isOver(): boolean {
    return this.#isOver;
  }

  get thread(): ByteThread {
    return this.#thread.thread;
  }

  /** @param callback called once, when it is closed; never if it is closed already */
  onClose(callback: (error: WeirError) => void): void {
    this.#closed.push(callback);
  }

  order(order: Order): void {
    this.#thread.order({ ...order, connection: this.id });
  }

  /** Closes it at once. */
  destroy(): void {
    if (!this.#isOver) this.order({ kind: 'cut' });
    this.#isOver = true;
  }

  /** Its socket is closed. */
  closed(error: WeirError): void {
    this.#isOver = true;
    for (const { gone } of this.serving.values()) gone.abort(error);
    this.forgetIfDone();
    for (const callback of this.#closed.splice(0)) callback(error);
  }

  /** The worker has ended: it will not tell what it was doing. */
  lost(error: WeirError): void {
    for (const { done } of this.serving.values()) done(0, error);
    this.serving.clear();
    this.closed(error);
  }

  /** What is being sent keeps it known: the worker tells when its file is not read any more. */
  forgetIfDone(): void {
    if (this.#isOver && this.serving.size === 0) this.#thread.ends.delete(this.id);
  }
}

/** Frames that follow each other on one connection are written together. */
function joinWrites(orders: readonly ConnectionOrder[]): readonly ConnectionOrder[] {
  const joined: ConnectionOrder[] = [];
  let parts: Uint8Array[] = [];
  for (const [at, order] of orders.entries()) {
    if (order.kind !== 'write') {
      joined.push(order);
      continue;
    }
    parts.push(order.frames);
    const next = orders[at + 1];
    if (next?.kind === 'write' && next.connection === order.connection) continue;
    joined.push({
      ...order,
      frames: parts.length === 1 ? order.frames : new Uint8Array(Buffer.concat(parts)),
    });
    parts = [];
  }
  return joined;
}
