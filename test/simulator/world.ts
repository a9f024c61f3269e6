/**
 * A cluster in virtual time: nodes with links, a registry, and messages with latency. The daemon's own `src/swarm`
 * decides; this file only brings messages, bytes and time to it. The same seed gives the same course.
 */
import { WeirError } from '../../src/util/errors.ts';
import { MILLISECOND, SECOND } from '../../src/util/clock.ts';
import type { Member } from '../../src/protocol/member.ts';
import type { RepositoryName } from '../../src/oci/repository.ts';
import type { PeerId } from '../../src/protocol/peer-id.ts';
import type { SwarmKey, SwarmMessage } from '../../src/protocol/messages.ts';
import { ChunkLayout } from '../../src/protocol/chunk-layout.ts';
import { nodeState } from '../../src/swarm/node-state.ts';
import { PARAMETERS, type Parameters } from '../../src/swarm/parameters.ts';
import type { Scheduler } from '../../src/swarm/scheduler.ts';
import type { Swarm } from '../../src/swarm/swarm.ts';
import { SwarmManager } from '../../src/swarm/swarm-manager.ts';
import type { ChunkFetchEvents, ChunkFetch } from '../../src/transfer/chunk-exchange.ts';
import { seeded } from './random.ts';
import { Loss } from './loss.ts';
import { COSTS } from './costs.ts';
import { Processors } from './processors.ts';
import { Roster } from './simulated-membership.ts';
import { memberNamed } from './names.ts';
import { Network } from './simulated-network.ts';
import { SimulatedNode } from './simulated-node.ts';
import { SimulatedRegistry } from './simulated-registry.ts';
import { Tally } from './tally.ts';
import { VirtualTime } from './virtual-time.ts';
import { HASH, PROGRESS, SIGNATURE, Transfer, type Carrier } from './simulated-transfer.ts';

/** Milliseconds to hash and write a chunk. */
const WRITE = 3 * MILLISECOND;
/** Until something can be said over a new connection: TCP, TLS 1.3 (RFC 8446, section 2), and the hellos. */
const ROUND_TRIPS = 3;
/** The tick of a swarm (swarm/swarm.ts). */
const TICK = 100 * MILLISECOND;

export interface WorldOptions {
  readonly nodes: number;
  readonly seed?: number;
  /** Bytes per millisecond of a node's link, up and down alike. */
  readonly link?: number;
  /** Share of the usual link that a node has; 1 if undefined. */
  readonly speed?: (index: number) => number;
  /** Bytes per millisecond of the registry's uplink, and of one connection to it. */
  readonly registry?: number;
  readonly connection?: number;
  /** Requests in a second above which the registry answers 429. */
  readonly throttle?: number;
  /** Milliseconds of a message within a zone, and to another one. */
  readonly latency?: number;
  readonly farLatency?: number;
  readonly zones?: number;
  /** Milliseconds after which all nodes know of a death. */
  readonly membershipDelay?: number;
  /** Milliseconds from a node's start until all know it; undefined: all are known from the beginning. */
  readonly joinDelay?: number | undefined;
  /** Share of packets that are lost. */
  readonly loss?: number;
  /** Milliseconds that a message waits at each full link on its way, behind bulk data in the buffer. */
  readonly queue?: number;
  /** Whether connections take time to open. */
  readonly handshakes?: boolean;
  /** Whether a chunk is lost before it is written, as with the thread that held it. */
  readonly loses?: (node: SimulatedNode, index: number) => boolean;
  /** Whether a request to a peer is lost, as with the thread that has its connection. */
  readonly losesRequest?: (node: SimulatedNode, request: ChunkFetch) => boolean;
  /** Cores of a node, which is charged for what it does (costs.ts); undefined: CPU time is free. */
  readonly cores?: number | undefined;
  readonly parameters?: Partial<Parameters>;
}

/** 1 Gbit/s. */
const USUAL_LINK = 125_000;

export class World implements Carrier {
  readonly time: VirtualTime;
  readonly nodes: SimulatedNode[] = [];
  readonly random: () => number;
  readonly parameters: Parameters;
  readonly network: Network;
  readonly registry: SimulatedRegistry;
  readonly roster: Roster;
  readonly loss: Loss;
  readonly tally: Tally = new Tally();
  readonly #options: WorldOptions;
  readonly #latency: number;
  readonly #farLatency: number;
  readonly #byName: Map<PeerId, SimulatedNode> = new Map();
  readonly #now: () => number;
  readonly #random: () => number;

  constructor(options: WorldOptions) {
    const { nodes, seed = 1, link = USUAL_LINK, latency = 0.5, zones = 1 } = options;
    this.#options = options;
    this.#latency = latency;
    this.#farLatency = options.farLatency ?? latency;
    this.random = seeded(seed);
    this.parameters = { ...PARAMETERS, ...options.parameters };
    this.#now = () => this.time.now;
    this.#random = () => this.random();
    const usual = [
      latency,
      this.#farLatency,
      2 * this.#farLatency,
      WRITE,
      TICK,
      this.parameters.batchInterval[0],
      PROGRESS,
    ];
    this.time = new VirtualTime(usual);
    this.network = new Network(this.time);
    this.loss = new Loss(options.loss ?? 0, this.random);
    this.registry = new SimulatedRegistry(
      {
        uplink: options.registry ?? USUAL_LINK,
        connection: Math.min(options.connection ?? Infinity, this.loss.cap(this.#farLatency)),
        throttle: options.throttle ?? Infinity,
        latency: this.#farLatency,
      },
      this.time,
      this.network,
    );
    const members = Array.from({ length: nodes }, (_, index) => memberNamed(index, zones));
    this.roster = new Roster(options.joinDelay === undefined ? members : []);
    members.forEach((member, index) => {
      const speed = link * (options.speed?.(index) ?? 1);
      const { cores } = options;
      const parts = {
        up: this.network.link(speed),
        down: this.network.link(speed),
        processors: cores === undefined ? undefined : new Processors(this.time, cores),
      };
      const node = new SimulatedNode(index, member, parts, (made) => this.#swarmsOf(made));
      this.nodes.push(node);
      this.#byName.set(member.peer, node);
    });
  }

  node(peer: PeerId): SimulatedNode {
    const node = this.#byName.get(peer);
    if (node === undefined) throw new Error(`no node ${peer}`);
    return node;
  }

  /** The node has come up. */
  join(node: SimulatedNode): void {
    const { joinDelay } = this.#options;
    if (joinDelay !== undefined)
      this.time.post(joinDelay, () => node.isAlive && this.roster.add(node.member));
  }

  /** A node that has gone comes up again, with the blobs on its disk. */
  comeBack(node: SimulatedNode): void {
    node.revive();
    this.time.post(this.#options.joinDelay ?? 0, () => node.isAlive && this.roster.add(node.member));
  }

  /** The node stops in order: it tells all others. */
  leave(node: SimulatedNode): void {
    if (!node.isAlive) return;
    node.swarms.stop();
    this.#vanish(node);
    this.roster.remove(new Set([node.member.peer]));
  }

  /** The node dies; others learn it from its silence, and after a delay from each other. */
  kill(node: SimulatedNode): void {
    if (!node.isAlive) return;
    this.#vanish(node);
    node.swarms.stop();
    const { membershipDelay = 5 * SECOND } = this.#options;
    this.time.post(membershipDelay, () => {
      if (!node.isAlive) this.roster.remove(new Set([node.member.peer]));
    });
  }

  #vanish(node: SimulatedNode): void {
    node.isAlive = false;
    node.connections.close();
    for (const link of [node.up, node.down]) {
      for (const flow of Array.from(link.flows)) this.network.cancel(flow);
    }
  }

  /** The node freezes, as by SIGSTOP: its connections stay. */
  freeze(node: SimulatedNode): void {
    node.isFrozen = true;
    for (const link of [node.up, node.down]) {
      for (const flow of Array.from(link.flows)) this.network.cancel(flow);
    }
  }

  pull(node: SimulatedNode, swarm: SwarmKey, size: number, over: () => void = () => undefined): Swarm {
    const layout = new ChunkLayout(size);
    const joined = node.swarms.open({
      swarm,
      layout,
      sink: {
        has: () => false,
        hash: () => undefined,
        write: (index, _bytes, _hash, done) => {
          const isLost = this.#options.loses?.(node, index) === true;
          const result = isLost ? ({ kind: 'lost' } as const) : ({ kind: 'written', hash: HASH } as const);
          const written = (): void => {
            if (node.isWell) done(result);
          };
          if (node.processors === undefined) this.time.post(WRITE, written);
          else node.processors.workers.after(COSTS.workers.store, layout.length(index), written);
        },
      },
      upstream: {
        fetch: (first, count, _token, events) => this.registry.fetch(node, layout, first, count, events),
      },
      ownerRequest: () => ({ repository: 'test/image' as RepositoryName, token: undefined }),
      onChunk: () => undefined,
      onProgress: () => undefined,
      onComplete: () => {
        node.complete.set(swarm.digest, this.time.now);
        node.kept.set(swarm.digest, size);
        node.swarms.close(joined, true);
        over();
      },
      onFailed: (error) => {
        node.failed.set(swarm.digest, error);
        node.swarms.close(joined, false);
        over();
      },
    });
    return joined;
  }

  #swarmsOf(node: SimulatedNode): SwarmManager {
    const { time } = this;
    const scheduler: Scheduler = {
      // The same functions for all nodes: a copy for each node would miss the CPU's cache.
      now: this.#now,
      random: this.#random,
      after: (ms, callback) => time.after(ms, () => node.isWell && callback()),
    };
    return new SwarmManager({
      environment: {
        membership: this.roster.view(node.member, time),
        ...nodeState(this.parameters, scheduler),
        client: { fetch: (member, request, events) => this.#ask(node, member, request, events) },
        send: (peer, message) => this.#send(node, peer, message),
        isConnected: (peer) => node.connections.has(this.node(peer).connections),
        attest: (_swarm, _size, index) => ({
          index,
          hash: HASH,
          verified: false,
          by: node.member.peer,
          signature: SIGNATURE,
        }),
        isGenuine: () => true,
        observer: {
          fetching: (swarm, first, count, reason) => this.tally.fetching(swarm, first, count, reason),
          received: () => undefined,
          fetched: () => undefined,
          stumbled: () => undefined,
          sent: () => undefined,
          blamed: (_swarm, peer, reason) => void node.blamed.push({ peer, reason }),
          misled: () => undefined,
        },
      },
      holds: (swarm, answer) => answer(node.kept.get(swarm.digest)),
      findProviders: () => undefined,
    });
  }

  #send(from: SimulatedNode, to: PeerId, message: SwarmMessage): void {
    if (!from.isAlive) return;
    this.tally.messages++;
    const target = this.node(to);
    if (target === from) {
      this.time.after(0, () => from.isWell && from.swarms.message(to, message));
      return;
    }
    const { now } = this.time;
    const { letter } = from;
    if (letter?.to === target && letter.at === now) {
      letter.messages.push(message);
      from.processors?.main.charge(COSTS.main.further);
      return;
    }
    const late = this.loss.delay() + this.waits(from, target) + this.#leaving(from, target);
    const messages = [message];
    from.letter = { to: target, at: now, messages };
    this.time.post(this.#latencyBetween(from, target) + late, () => this.#deliver(from, target, messages));
  }

  /** @returns milliseconds until a message has left */
  #leaving(from: SimulatedNode, to: SimulatedNode): number {
    const { processors } = from;
    const opening = this.opening(from, to);
    if (processors === undefined) return opening;
    const said = processors.main.charge(COSTS.main.message);
    return Math.max(opening, said + processors.workers.charge(COSTS.workers.message));
  }

  #deliver(from: SimulatedNode, to: SimulatedNode, messages: readonly SwarmMessage[]): void {
    const { main, workers } = to.processors ?? {};
    if (main === undefined || workers === undefined || !to.isWell) return this.#take(from, to, messages);
    const { message, further } = COSTS.main;
    workers.begin(COSTS.workers.message, () =>
      main.begin(message + further * (messages.length - 1), () => this.#take(from, to, messages)),
    );
  }

  #take(from: SimulatedNode, to: SimulatedNode, messages: readonly SwarmMessage[]): void {
    for (const message of messages) {
      if (!to.isAlive) {
        if (from.isWell) from.swarms.unreachable(to.member.peer);
      } else if (!to.isFrozen) to.swarms.message(from.member.peer, message);
    }
  }

  #ask(from: SimulatedNode, member: Member, request: ChunkFetch, events: ChunkFetchEvents): () => void {
    if (this.#options.losesRequest?.(from, request) === true) {
      const error = new WeirError('worker_lost', 'the thread has ended');
      return this.time.after(1, () => events.failed(error));
    }
    const to = this.node(member.peer);
    const transfer = new Transfer(this, [from, to], request, events, this.#latencyBetween(from, to));
    return () => transfer.cancel();
  }

  delivered(from: SimulatedNode, to: SimulatedNode, bytes: number): void {
    from.fromPeers += bytes;
    to.sent += bytes;
    if (from.member.zone !== to.member.zone) from.fromOtherZones += bytes;
  }

  #latencyBetween(a: SimulatedNode, b: SimulatedNode): number {
    if (this.#latency === this.#farLatency) return this.#latency;
    return a.member.zone === b.member.zone ? this.#latency : this.#farLatency;
  }

  opening(from: SimulatedNode, to: SimulatedNode): number {
    return from.connections.use(to.connections, this.time.now, () => {
      if (!this.#hasHandshakes) return 0;
      const roundTrip = 2 * this.#latencyBetween(from, to) + this.waits(from, to) + this.waits(to, from);
      const charge = ({ processors }: SimulatedNode): number =>
        processors?.workers.charge(COSTS.workers.handshake) ?? 0;
      return ROUND_TRIPS * roundTrip + Math.max(charge(from), charge(to));
    });
  }

  get #hasHandshakes(): boolean {
    return this.#options.handshakes === true || this.#options.cores !== undefined;
  }

  waits(from: SimulatedNode, to: SimulatedNode): number {
    const { queue = 0 } = this.#options;
    if (queue === 0) return 0;
    return (from.up.isFull ? queue : 0) + (to.down.isFull ? queue : 0);
  }
}
