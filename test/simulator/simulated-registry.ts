/** The simulated registry: an uplink, a limit for each connection, and 429 above a rate of requests. */
import { SECOND } from '../../src/util/clock.ts';
import { WeirError } from '../../src/util/errors.ts';
import type { ChunkLayout } from '../../src/protocol/chunk-layout.ts';
import type { ChunkUpstreamEvents } from '../../src/swarm/environment.ts';
import { COSTS } from './costs.ts';
import type { Flow, Link, Network } from './simulated-network.ts';
import type { SimulatedNode } from './simulated-node.ts';
import { NO_BYTES, PROGRESS } from './simulated-transfer.ts';
import type { VirtualTime } from './virtual-time.ts';

export interface RegistryOptions {
  /** Bytes per millisecond. */
  readonly uplink: number;
  /** Of one connection. */
  readonly connection: number;
  /** Requests in a second above which it answers 429. */
  readonly throttle: number;
  /** Milliseconds of one way to it. */
  readonly latency: number;
}

export class SimulatedRegistry {
  readonly link: Link;
  requests = 0;
  bytes = 0;
  refused = 0;
  /** It answers a part of a blob with the whole. */
  sendsWhole = false;
  /** What it does instead of serving; undefined: it serves. */
  fault: () => WeirError | undefined = () => undefined;
  readonly #options: RegistryOptions;
  readonly #time: VirtualTime;
  readonly #network: Network;
  /** When the last requests came. */
  readonly #recent: number[] = [];

  constructor(options: RegistryOptions, time: VirtualTime, network: Network) {
    this.#options = options;
    this.#time = time;
    this.#network = network;
    this.link = network.link(options.uplink);
  }

  /** A request for `count` chunks from `first` on. @returns a function that stops it */
  fetch(
    node: SimulatedNode,
    layout: ChunkLayout,
    first: number,
    count: number,
    events: ChunkUpstreamEvents,
  ): () => void {
    const { latency } = this.#options;
    let flow: Flow | undefined;
    let over = false;
    const refusal = this.#refusal();
    const later = (ms: number, run: () => void): void => {
      this.#time.after(ms, () => {
        if (!over && node.isWell) run();
      });
    };
    const chunk = (index: number): void => {
      const bytes = layout.length(index);
      let told = 0;
      let own: Flow | undefined;
      const tell = (): void => {
        if (over || !node.isWell || own === undefined || own.isOver) return;
        const arrived = Math.floor(bytes - this.#network.left(own));
        this.#account(node, arrived - told);
        events.progressed(arrived - told);
        told = arrived;
        later(PROGRESS, tell);
      };
      const done = (): void => {
        this.#account(node, bytes - told);
        if (node.processors === undefined) return came();
        node.processors.main.charge(COSTS.main.upstream);
        node.processors.workers.after(COSTS.workers.upstream, bytes, came);
      };
      const came = (): void => {
        if (over || !node.isWell) return;
        events.progressed(bytes - told);
        events.chunk(index, NO_BYTES, () => undefined);
        if (over) return;
        if (index + 1 < first + count) chunk(index + 1);
        else {
          over = true;
          events.ended(undefined);
        }
      };
      own = flow = this.#network.send(this.link, node.down, bytes, done, this.#options.connection);
      later(PROGRESS, tell);
    };
    later(2 * latency, () => {
      if (refusal !== undefined) {
        over = true;
        return events.ended(refusal);
      }
      if (!this.sendsWhole || count === layout.count) return chunk(first);
      events.whole();
      const before = layout.start(first);
      const skipped = (): void => {
        this.#account(node, before);
        if (!over && node.isWell) chunk(first);
      };
      if (over) return;
      if (before === 0) chunk(first);
      else flow = this.#network.send(this.link, node.down, before, skipped, this.#options.connection);
    });
    return () => {
      over = true;
      if (flow !== undefined) this.#network.cancel(flow);
    };
  }

  #account(node: SimulatedNode, bytes: number): void {
    this.bytes += bytes;
    node.fromRegistry += bytes;
    node.firstByteAt ??= this.#time.now;
  }

  #refusal(): WeirError | undefined {
    const { now } = this.#time;
    this.requests++;
    const recent = this.#recent;
    while ((recent[0] ?? now) < now - SECOND) recent.shift();
    if (recent.length >= this.#options.throttle) {
      this.refused++;
      return new WeirError('upstream_throttled', 'the simulated registry has too many requests');
    }
    if (this.#options.throttle < Infinity) recent.push(now);
    return this.fault();
  }
}
