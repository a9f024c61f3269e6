/**
 * Virtual time. Events run in the order of their instants, and at one instant in the order in which they were made.
 * Most events have one of a few usual delays (a message's latency, the batch of news, the tick). Events of one delay
 * are in order by themselves, so each delay has a queue; a heap holds the rest.
 */

interface Event {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
  cancelled: boolean;
}

export class VirtualTime {
  /** Milliseconds. */
  now = 0;
  #order = 0;
  #stopped = false;
  readonly #heap: Heap = new Heap();
  readonly #byDelay: Map<number, Queue> = new Map();
  /** The heap and all queues, in the order of their first events. */
  readonly #sources: (Queue | Heap)[];

  /** @param usual delays, in milliseconds, that are common */
  constructor(usual: readonly number[] = []) {
    for (const delay of new Set([0, ...usual])) this.#byDelay.set(delay, new Queue());
    this.#sources = [this.#heap, ...this.#byDelay.values()];
  }

  /** How many events there have been. */
  get events(): number {
    return this.#order;
  }

  /** @returns a function that stops it */
  after(ms: number, run: () => void): () => void {
    const event = this.#push(ms, run);
    return () => void (event.cancelled = true);
  }

  /** As {@link after}, for an event that is never stopped: most are of this kind. */
  post(ms: number, run: () => void): void {
    this.#push(ms, run);
  }

  #push(ms: number, run: () => void): Event {
    const delay = Math.max(0, ms);
    const event: Event = { at: this.now + delay, order: this.#order++, run, cancelled: false };
    const source = this.#byDelay.get(delay) ?? this.#heap;
    source.push(event);
    if (source.head === event) this.#moveForward(source, event);
    return event;
  }

  /** Lets {@link run} return after the present event. */
  stop(): void {
    this.#stopped = true;
  }

  /** Runs until `done`, or {@link stop}, or until nothing is left, or `limit` milliseconds are over. */
  run(done: () => boolean, limit: number): void {
    this.#stopped = false;
    while (!this.#stopped) {
      const first = this.#sources[0] as Queue | Heap;
      const { head } = first;
      if (head === undefined || head.at > limit) return;
      first.shift();
      this.#moveBack(first);
      if (head.cancelled) continue;
      this.now = head.at;
      head.run();
      if (done()) return;
    }
  }

  /** The source has a new first event. */
  #moveForward(source: Queue | Heap, head: Event): void {
    const sources = this.#sources;
    let at = sources.indexOf(source);
    for (; at > 0; at--) {
      const before = sources[at - 1] as Queue | Heap;
      if (before.head !== undefined && isBefore(before.head, head)) break;
      sources[at] = before;
    }
    sources[at] = source;
  }

  /** The first source has lost its first event. */
  #moveBack(source: Queue | Heap): void {
    const sources = this.#sources;
    const { head } = source;
    let at = 0;
    for (; at + 1 < sources.length; at++) {
      const next = sources[at + 1] as Queue | Heap;
      if (next.head === undefined || (head !== undefined && isBefore(head, next.head))) break;
      sources[at] = next;
    }
    sources[at] = source;
  }
}

function isBefore(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

/** First in, first out; memory is released when half of it is used up. */
class Queue {
  #events: (Event | undefined)[] = [];
  #first = 0;

  get head(): Event | undefined {
    return this.#events[this.#first];
  }

  push(event: Event): void {
    this.#events.push(event);
  }

  shift(): void {
    this.#events[this.#first++] = undefined;
    if (this.#first < LEAST_USED || this.#first * 2 < this.#events.length) return;
    this.#events = this.#events.slice(this.#first);
    this.#first = 0;
  }
}

const LEAST_USED = 1024;

/** A binary heap, the first event on top. Instants stand beside the events, so that a comparison reads no event. */
class Heap {
  readonly #events: Event[] = [];
  readonly #instants: number[] = [];

  get head(): Event | undefined {
    return this.#events[0];
  }

  push(event: Event): void {
    const [events, instants] = [this.#events, this.#instants];
    let at = events.length;
    events.push(event);
    instants.push(event.at);
    while (at > 0) {
      const above = (at - 1) >> 1;
      const instant = instants[above] as number;
      if (instant < event.at || (instant === event.at && (events[above] as Event).order < event.order)) break;
      events[at] = events[above] as Event;
      instants[at] = instant;
      at = above;
    }
    events[at] = event;
    instants[at] = event.at;
  }

  shift(): void {
    const [events, instants] = [this.#events, this.#instants];
    const last = events.pop();
    instants.pop();
    const { length } = events;
    if (last === undefined || length === 0) return;
    let at = 0;
    for (;;) {
      let below = 2 * at + 1;
      if (below >= length) break;
      if (below + 1 < length && this.#isBefore(below + 1, below)) below++;
      const instant = instants[below] as number;
      if (instant > last.at || (instant === last.at && (events[below] as Event).order > last.order)) break;
      events[at] = events[below] as Event;
      instants[at] = instant;
      at = below;
    }
    events[at] = last;
    instants[at] = last.at;
  }

  #isBefore(a: number, b: number): boolean {
    const [first, second] = [this.#instants[a] as number, this.#instants[b] as number];
    if (first !== second) return first < second;
    return (this.#events[a] as Event).order < (this.#events[b] as Event).order;
  }
}
