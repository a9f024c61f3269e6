/**
 * Bytes on their way: flows from one link (the sender's uplink) to another (the receiver's downlink). They share each
 * link max-min fairly, as many TCP connections do in the long run.
 *
 * Each link offers its flows a level: the rate of each flow at which the link is full, if flows that are held back at
 * their other end take only their rate there. A flow's rate is the least of its two levels and its own cap. When a
 * flow comes or goes, levels are computed anew at its two links, and at the links behind them while levels still
 * change. That settles at the max-min fair rates (Charny, Clark and Jain, 1995), and stays local.
 */
import type { VirtualTime } from './virtual-time.ts';

/** Share by which a level must change for the links behind to be looked at. */
const NEGLIGIBLE = 0.002;
/** Share by which sums may be off. */
const ROUNDING = 1e-9;
/** Links that are looked at for one flow that comes or goes; the next one brings the rest of the change. */
const MAX_SETTLED = 256;
/** Bytes: numbers are rounded, so a flow may end with a trace of a byte left. */
const TRACE = 1e-3;

/** Share of its capacity above which a link is full, so that messages wait in its buffer. */
const FULL = 0.99;

/** The uplink or downlink of a node, or the registry's uplink; made by {@link Network.link}. */
export class Link {
  /** Index of its level in the network. */
  readonly id: number;
  /** Bytes per millisecond. */
  readonly capacity: number;
  readonly flows: Flow[] = [];
  /** For each flow, the link at its other end, and its cap: a level is computed from them without reading the flow. */
  readonly others: Link[] = [];
  readonly otherIds: number[] = [];
  readonly caps: number[] = [];
  /** The level as computed last; a change may have been too small to be passed on. */
  computed = Infinity;
  isQueued = false;
  /** An input of its level has changed so that the level may change. */
  isStale = false;
  /** When the first incoming flow is looked at next; its state then decides. */
  lookAt = Infinity;

  constructor(id: number, capacity: number) {
    this.id = id;
    this.capacity = capacity;
  }

  add(flow: Flow, other: Link): void {
    this.flows.push(flow);
    this.others.push(other);
    this.otherIds.push(other.id);
    this.caps.push(flow.cap);
  }

  remove(flow: Flow): void {
    const at = this.flows.indexOf(flow);
    for (const list of [this.flows, this.others, this.otherIds, this.caps]) {
      const last = list.pop();
      if (at < list.length) list[at] = last as never;
    }
  }

  get isFull(): boolean {
    let total = 0;
    for (const { rate } of this.flows) total += rate;
    return total >= FULL * this.capacity;
  }
}

export interface Flow {
  readonly up: Link;
  readonly down: Link;
  /** Bytes per millisecond at most. */
  readonly cap: number;
  readonly done: () => void;
  /** Bytes that were left at `at`. */
  left: number;
  at: number;
  rate: number;
  /** When the last byte arrives at the present rate. */
  due: number;
  isOver: boolean;
}

export class Network {
  readonly #time: VirtualTime;
  readonly #queue: Link[] = [];
  readonly #touched: Set<Link> = new Set();
  #offers: Float64Array = new Float64Array(64);
  /** The level of each link, by its id. */
  #levels: Float64Array = new Float64Array(64);
  #links = 0;

  constructor(time: VirtualTime) {
    this.#time = time;
  }

  /** @param capacity bytes per millisecond */
  link(capacity: number): Link {
    const link = new Link(this.#links++, capacity);
    if (this.#links > this.#levels.length) {
      const levels = new Float64Array(2 * this.#levels.length);
      levels.set(this.#levels);
      this.#levels = levels;
    }
    this.#levels[link.id] = Infinity;
    return link;
  }

  /** Sends `bytes`; calls back when the last one has arrived. */
  send(up: Link, down: Link, bytes: number, done: () => void, cap = Infinity): Flow {
    const { now } = this.#time;
    const flow: Flow = { up, down, cap, done, left: bytes, at: now, rate: 0, due: Infinity, isOver: false };
    up.add(flow, down);
    down.add(flow, up);
    this.#settle(up, down);
    return flow;
  }

  /** Sends no more of it, and calls nothing back. */
  cancel(flow: Flow): void {
    if (!flow.isOver) this.#remove(flow);
  }

  /** Bytes that have not arrived yet. */
  left({ left, rate, at }: Flow): number {
    return Math.max(0, left - rate * (this.#time.now - at));
  }

  #remove(flow: Flow): void {
    flow.left = this.left(flow);
    flow.rate = 0;
    flow.isOver = true;
    flow.up.remove(flow);
    flow.down.remove(flow);
    this.#settle(flow.up, flow.down);
  }

  #settle(up: Link, down: Link): void {
    const levels = this.#levels;
    for (const link of [up, down]) {
      link.isStale = true;
      this.#enqueue(link);
      this.#touched.add(link);
    }
    for (let at = 0; at < this.#queue.length; at++) {
      const link = this.#queue[at] as Link;
      link.isQueued = false;
      if (!link.isStale) continue;
      link.isStale = false;
      const before = levels[link.id] ?? Infinity;
      const level = this.#levelOf(link);
      link.computed = level;
      if (isAlmost(level, before)) continue;
      levels[link.id] = level;
      this.#touched.add(link);
      const least = Math.min(level, before);
      for (const other of link.others) {
        // If the other end offers less than that, this link does not hold the flow back, neither now nor before.
        if (other.computed * (1 + ROUNDING) >= least) other.isStale = true;
        if (at <= MAX_SETTLED) this.#enqueue(other);
      }
    }
    this.#queue.length = 0;
    for (const { flows } of this.#touched) for (const flow of flows) this.#adjust(flow);
    this.#touched.clear();
  }

  #enqueue(link: Link): void {
    if (link.isQueued) return;
    link.isQueued = true;
    this.#queue.push(link);
  }

  #levelOf(link: Link): number {
    const { otherIds, caps, capacity } = link;
    const levels = this.#levels;
    const count = otherIds.length;
    if (this.#offers.length < count) this.#offers = new Float64Array(2 * count);
    const offers = this.#offers;
    let total = 0;
    for (let i = 0; i < count; i++) {
      const offer = Math.min(levels[otherIds[i] as number] as number, caps[i] as number);
      offers[i] = offer;
      total += offer;
    }
    if (total <= capacity) return Infinity;
    // Those that take less than an even share leave the rest of it to the others, until nobody takes less.
    let left = capacity;
    let sharing = count;
    for (;;) {
      const share = left / sharing;
      const before = sharing;
      for (let i = 0; i < sharing; i++) {
        const offer = offers[i] ?? 0;
        if (offer >= share) continue;
        left -= offer;
        offers[i--] = offers[--sharing] ?? 0;
      }
      if (sharing === before) return share;
      if (sharing === 0) return Infinity;
    }
  }

  #adjust(flow: Flow): void {
    const { up, down, cap } = flow;
    const levels = this.#levels;
    const offered = Math.min(levels[up.id] as number, levels[down.id] as number);
    const rate = Math.min(offered, cap, up.capacity, down.capacity);
    if (rate === flow.rate || flow.isOver) return;
    const { now } = this.#time;
    flow.left = this.left(flow);
    flow.at = now;
    flow.rate = rate;
    flow.due = now + flow.left / rate;
    this.#watch(down, flow.due);
  }

  /** One timer for all flows that come in at a link; if the first to end got slower, the timer finds bytes left. */
  #watch(link: Link, due: number): void {
    if (due >= link.lookAt) return;
    link.lookAt = due;
    this.#time.post(due - this.#time.now, () => this.#look(link, due));
  }

  #look(link: Link, due: number): void {
    if (link.lookAt !== due) return; // another timer was set, for an earlier end
    link.lookAt = Infinity;
    const { now } = this.#time;
    const ended = link.flows.filter((flow) => flow.due <= now || this.left(flow) <= TRACE);
    for (const flow of ended) {
      if (flow.isOver) continue; // the end of another flow ended it
      this.#remove(flow);
      flow.done();
    }
    const next = link.flows.reduce((first, { due: other }) => Math.min(first, other), Infinity);
    if (next < Infinity) this.#watch(link, next);
  }
}

function isAlmost(a: number, b: number): boolean {
  return a === b || (a !== Infinity && b !== Infinity && Math.abs(a - b) <= NEGLIGIBLE * a);
}
