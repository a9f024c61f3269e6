/** One simulated run: all nodes pull one image, as a container runtime does. */
import { GIB, SECOND } from '../../src/util/clock.ts';
import type { BenchResult, ClusterCpu, Failure, NodeCpu, NodeResult } from '../../bench/report/result.ts';
import type { Parameters } from '../../src/swarm/parameters.ts';
import { percentiles } from './stats.ts';
import type { Processors } from './processors.ts';
import type { SimulatedNode } from './simulated-node.ts';
import { namedSwarm } from './names.ts';
import { World } from './world.ts';

/** Layers that a runtime fetches at a time (containerd's max_concurrent_downloads). */
const LAYERS_AT_ONCE = 3;
/** Points of the registry's curve. */
const SAMPLES = 200;
/** A run counts as hung after so many times the lower bound plus so many milliseconds. */
const PATIENCE = 20;
const LEAST_PATIENCE = 120 * SECOND;
const SLOW = 0.1;

export type Start =
  | { readonly kind: 'simultaneous' }
  | { readonly kind: 'jitter'; readonly ms: number }
  | { readonly kind: 'rolling'; readonly share: number };

export interface SimulateOptions {
  readonly nodes: number;
  /** Bytes of each layer. */
  readonly layers: readonly number[];
  /** Bytes per millisecond. */
  readonly link: number;
  readonly registry: number;
  readonly connection: number;
  readonly throttle: number;
  readonly zones: number;
  /** Milliseconds. */
  readonly latency: number;
  readonly zoneLatency: number;
  readonly membershipDelay: number;
  /** From a node's start until it knows the others, and they it; undefined: all know each other before. */
  readonly joinDelay?: number;
  /** Shares: of headers in what links carry, and of lost packets. */
  readonly headers?: number;
  readonly loss?: number;
  /** Milliseconds that a message waits at each full link. */
  readonly queue?: number;
  /** Whether connections take time to open. */
  readonly handshakes?: boolean;
  /** Cores of a node, which is charged for what it does; undefined: CPU time is free. */
  readonly cores?: number;
  readonly start: Start;
  /** Shares of the nodes. */
  readonly kill: number;
  readonly slow: number;
  readonly hang: number;
  readonly seed: number;
  /** Numbers of the policy that differ from the daemon's. */
  readonly policy?: Partial<Parameters>;
}

export interface Go {
  readonly result: BenchResult;
  /** Further figures of a simulated run. */
  readonly messages: number;
  readonly reasons: Readonly<Record<string, number>>;
  /** Chunks that left the registry again, by the reason of the request. */
  readonly again: Readonly<Record<string, number>>;
  readonly outcomes: Readonly<Record<string, number>>;
  /** How often peers were blamed, for each reason. */
  readonly blamed: Readonly<Record<string, number>>;
}

export function simulate(options: SimulateOptions, turn: number): Go {
  const seed = options.seed + turn - 1;
  const image = options.layers.reduce((sum, size) => sum + size, 0);
  const bound = lowerBound(options, image);
  const world = worldOf(options, seed);
  const course = new Course(world, options, bound);
  course.run();
  const starts = course.starts;
  const perNode = world.nodes.map((node, index) => resultOf(node, starts[index] ?? 0, course));
  const took = perNode.flatMap(({ completed_s: done, started_s: started }) =>
    done === null || started === null ? [] : [done - started],
  );
  const firsts = perNode.flatMap(({ first_byte_s: first }) => first ?? []);
  const makespan = Math.max(...perNode.map(({ completed_s: done }) => done ?? 0));
  const failed = failuresOf(course);
  const cpu = clusterCpuOf(perNode);
  const result: BenchResult = {
    system: 'weir',
    nodes: options.nodes,
    turn,
    seed,
    image_bytes: image,
    lower_bound_s: bound / SECOND,
    makespan_s: makespan,
    makespan_ratio: makespan / (bound / SECOND),
    p50_s: took.length > 0 ? percentiles(took).p50 : 0,
    p99_s: took.length > 0 ? percentiles(took).p99 : 0,
    first_byte_p50_s: firsts.length > 0 ? percentiles(firsts).p50 : 0,
    registry_bytes: world.registry.bytes,
    registry_ratio: world.registry.bytes / image,
    registry_requests: world.registry.requests,
    cross_zone_bytes: world.nodes.reduce((sum, node) => sum + node.fromOtherZones, 0),
    cpu_s_per_gib: cpu === undefined ? null : (cpu.main_s + cpu.workers_s) / (image / GIB),
    ...(cpu !== undefined && { cpu }),
    rss_max_bytes: null,
    connections_max: Math.max(...world.nodes.map(({ connections }) => connections.most)),
    connections_mean:
      world.nodes.reduce((sum, { connections }) => sum + connections.most, 0) / world.nodes.length,
    failures: failed.length,
    failure_reasons: failed,
    per_node: perNode,
    registry_curve: course.curve,
  };
  const blamed: Record<string, number> = {};
  for (const node of world.nodes) {
    for (const { reason } of node.blamed) blamed[reason] = (blamed[reason] ?? 0) + 1;
  }
  return {
    result,
    messages: world.tally.messages,
    reasons: Object.fromEntries(world.tally.reasons),
    again: Object.fromEntries(world.tally.again),
    outcomes: Object.fromEntries(world.tally.outcomes),
    blamed,
  };
}

/** Milliseconds; no run can be faster. If some nodes have a slower link, they are the last ones. */
function lowerBound({ registry, link, slow }: SimulateOptions, image: number): number {
  return Math.max(image / registry, image / (slow > 0 ? SLOW * link : link));
}

function worldOf(options: SimulateOptions, seed: number): World {
  const { nodes, connection, throttle, zones, latency, zoneLatency, membershipDelay, joinDelay } = options;
  const { headers = 0, loss = 0, queue = 0, handshakes = false } = options;
  const slow = Math.round(nodes * options.slow);
  return new World({
    nodes,
    seed,
    link: options.link * (1 - headers),
    speed: (index) => (index >= nodes - slow ? SLOW : 1),
    registry: options.registry * (1 - headers),
    connection,
    throttle,
    loss,
    queue,
    handshakes,
    cores: options.cores,
    zones,
    latency,
    farLatency: zones > 1 ? zoneLatency : latency,
    membershipDelay,
    joinDelay,
    parameters: options.policy ?? {},
  });
}

class Course {
  readonly starts: number[] = [];
  readonly curve: [seconds: number, bytes: number][] = [];
  readonly world: World;
  readonly #options: SimulateOptions;
  readonly #bound: number;
  /** Nodes that are incomplete, and were neither killed nor hung. */
  readonly busy: Set<SimulatedNode>;

  constructor(world: World, options: SimulateOptions, bound: number) {
    this.world = world;
    this.#options = options;
    this.#bound = bound;
    this.busy = new Set(world.nodes);
  }

  run(): void {
    const { world } = this;
    const limit = Math.max(LEAST_PATIENCE, PATIENCE * this.#bound);
    this.#sample();
    this.#start();
    this.#strike();
    world.time.run(() => false, limit);
    this.curve.push([world.time.now / SECOND, world.registry.bytes]);
  }

  #over(node: SimulatedNode): void {
    this.busy.delete(node);
    if (this.busy.size === 0) this.world.time.stop();
    else this.#next?.();
  }

  /** Starts the next node of a rolling start. */
  #next: (() => void) | undefined;

  #start(): void {
    const { start } = this.#options;
    const { nodes, time, random } = this.world;
    const begin = (node: SimulatedNode, index: number): void => {
      this.starts[index] = time.now;
      this.world.join(node);
      if (node.isWell) this.#pull(node);
    };
    if (start.kind === 'rolling') {
      let at = 0;
      this.#next = () => {
        const node = nodes[at];
        if (node !== undefined) begin(node, at++);
      };
      const first = Math.max(1, Math.round(nodes.length * start.share));
      for (let i = 0; i < first; i++) time.after(0, this.#next);
      return;
    }
    const spread = start.kind === 'jitter' ? start.ms : 0;
    nodes.forEach((node, index) => time.after(spread * random(), () => begin(node, index)));
  }

  /** Layers from the first on, a few at a time. */
  #pull(node: SimulatedNode): void {
    const { layers } = this.#options;
    let next = 0;
    let done = 0;
    const one = (): void => {
      const index = next++;
      const size = layers[index];
      if (size === undefined) return;
      this.world.pull(node, namedSwarm(`layer ${index}`), size, () => {
        if (++done === layers.length || node.failed.size > 0) this.#over(node);
        else one();
      });
    };
    for (let i = 0; i < LAYERS_AT_ONCE; i++) one();
  }

  /** Nodes die or hang at random times in the first three quarters of the lower bound. */
  #strike(): void {
    const { kill, hang } = this.#options;
    const { world } = this;
    const dying = Math.round(world.nodes.length * kill);
    const hanging = Math.round(world.nodes.length * hang);
    world.nodes.slice(0, dying + hanging).forEach((node, index) => {
      world.time.after(this.#bound * (0.05 + 0.7 * world.random()), () => {
        if (!this.busy.has(node)) return;
        if (index < dying) world.kill(node);
        else world.freeze(node);
        this.#over(node);
      });
    });
  }

  #sample(): void {
    const { world } = this;
    this.curve.push([world.time.now / SECOND, world.registry.bytes]);
    world.time.after((2 * this.#bound) / SAMPLES, () => this.#sample());
  }
}

function resultOf(node: SimulatedNode, startedAt: number, { busy }: Course): NodeResult {
  const isDone = node.isWell && node.failed.size === 0 && !busy.has(node);
  return {
    node: node.member.name,
    zone: node.member.zone,
    started_s: startedAt / SECOND,
    completed_s: isDone ? Math.max(...node.complete.values()) / SECOND : null,
    first_byte_s: node.firstByteAt === undefined ? null : (node.firstByteAt - startedAt) / SECOND,
    bytes: { peers: node.fromPeers, registry: node.fromRegistry },
    sent_bytes: node.sent,
    cross_zone_bytes: node.fromOtherZones,
    connections: node.connections.most,
    rss_bytes: null,
    ...(node.processors !== undefined && { cpu: cpuOf(node.processors) }),
  };
}

/** Undefined: CPU time is free. */
function clusterCpuOf(nodes: readonly NodeResult[]): ClusterCpu | undefined {
  const all = nodes.flatMap(({ cpu }) => cpu ?? []);
  if (all.length === 0) return undefined;
  const mean = (of: (cpu: NodeCpu) => number): number =>
    all.reduce((sum, cpu) => sum + of(cpu), 0) / all.length;
  return {
    main_s: mean(({ main_s: main }) => main),
    workers_s: mean(({ workers_s: workers }) => workers),
    busiest_main_s: Math.max(...all.map(({ main_s: main }) => main)),
    main_wait_s: Math.max(...all.map(({ main_wait_s: wait }) => wait)),
  };
}

function cpuOf({ main, used }: Processors): NodeCpu {
  return {
    main_s: main.used / SECOND,
    workers_s: (used - main.used) / SECOND,
    main_wait_s: main.longestWait / SECOND,
  };
}

/** A node that was killed or hung has not failed; one that is incomplete for another reason has. */
function failuresOf({ world, busy }: Course): readonly Failure[] {
  return world.nodes.flatMap((node): Failure[] => {
    if (!node.isWell) return [];
    const [error] = node.failed.values();
    if (error !== undefined) return [{ node: node.member.name, reason: `${error.code}: ${error.message}` }];
    return busy.has(node) ? [{ node: node.member.name, reason: 'it did not come to an end' }] : [];
  });
}
