/**
 * A small world in virtual time for the swarm policy: nodes with an uplink, a registry with an uplink, messages with
 * a latency. It drives the daemon's own modules; what it models is coarse (each transfer gets its share of the
 * sender's uplink when it begins). Same seed, same course.
 */
import { MIB } from '../../src/clock.ts';
import type { WeirError } from '../../src/errors.ts';
import type { Member, Membership } from '../../src/membership/member.ts';
import type { Digest } from '../../src/oci/digest.ts';
import type { RegistryHost, RepositoryName } from '../../src/oci/repository.ts';
import type { PeerName } from '../../src/peer/peer-name.ts';
import { HASH, NO_BYTES, SIGNATURE, STEP, WorldNode, WorldTransfer } from './world-transfer.ts';
import { seeded, VirtualTime } from './virtual-time.ts';
import { ChunkLayout } from '../../src/store/chunk-layout.ts';
import { Budget } from '../../src/swarm/budget.ts';
import type { SwarmKey, SwarmMessage } from '../../src/protocol/messages.ts';
import { Pace } from '../../src/swarm/pace.ts';
import { PARAMETERS, type Parameters } from '../../src/swarm/parameters.ts';
import type { Scheduler } from '../../src/swarm/scheduler.ts';
import type { Session } from '../../src/swarm/session.ts';
import type { OriginEvents } from '../../src/swarm/state.ts';
import { Swarms } from '../../src/swarm/swarms.ts';
import type { PieceEvents, PieceRequest } from '../../src/transfer/exchange.ts';

/** Milliseconds to hash and write a chunk. */
const WRITE = 3;

export interface WorldOptions {
  readonly nodes: number;
  readonly seed?: number;
  /** Bytes per millisecond of a node's uplink. */
  readonly uplink?: number;
  /** Bytes per millisecond of the registry's uplink. */
  readonly registry?: number;
  /** Milliseconds of a message. */
  readonly latency?: number;
  readonly zones?: number;
  readonly parameters?: Partial<Parameters>;
}

export class SwarmWorld {
  readonly time: VirtualTime = new VirtualTime();
  readonly nodes: WorldNode[] = [];
  readonly random: () => number;
  readonly parameters: Parameters;
  registryRequests = 0;
  registryBytes = 0;
  registryActive = 0;
  messages = 0;
  /** What the registry does instead of serving; undefined: it serves. */
  registryFault: () => WeirError | undefined = () => undefined;
  readonly #options: Required<Omit<WorldOptions, 'parameters' | 'seed'>>;
  readonly #byName: Map<PeerName, WorldNode> = new Map();
  readonly #members: Member[] = [];
  #live: readonly Member[] = [];
  readonly #byteOf: Map<PeerName, Map<PeerName, number>> = new Map();

  constructor(options: WorldOptions) {
    const { nodes, seed = 1, uplink = 125_000, registry = 125_000, latency = 0.5, zones = 1 } = options;
    this.#options = { nodes, uplink, registry, latency, zones };
    this.random = seeded(seed);
    this.parameters = { ...PARAMETERS, ...options.parameters };
    for (let i = 0; i < nodes; i++) this.#members.push(memberNamed(i, zones));
    this.#members.sort((a, b) => (a.peer < b.peer ? -1 : 1));
    this.#live = [...this.#members];
    for (const member of this.#members) {
      const node = new WorldNode(member, (made) => this.#swarmsOf(made));
      this.nodes.push(node);
      this.#byName.set(member.peer, node);
    }
  }

  /** Bytes that `to` had from `from`. */
  bytesBetween(from: PeerName, to: PeerName): number {
    return this.#byteOf.get(from)?.get(to) ?? 0;
  }

  node(peer: PeerName): WorldNode {
    const node = this.#byName.get(peer);
    if (node === undefined) throw new Error(`no node ${peer}`);
    return node;
  }

  /** The node dies; the others learn it only by its silence. */
  kill(node: WorldNode): void {
    node.isAlive = false;
    node.swarms.stop();
  }

  pull(node: WorldNode, swarm: SwarmKey, size: number): Session {
    const layout = new ChunkLayout(size);
    const session = node.swarms.open({
      swarm,
      layout,
      sink: {
        has: () => false,
        write: (_index, _bytes, _hash, done) => {
          this.time.after(WRITE, () => node.isAlive && done({ kind: 'written', hash: HASH }));
        },
      },
      origin: { fetch: (first, count, _token, events) => this.#fetch(node, layout, first, count, events) },
      home: () => ({ repository: 'test/image' as RepositoryName, token: undefined }),
      onChunk: () => undefined,
      onProgress: () => undefined,
      onComplete: () => {
        node.complete.set(swarm.digest, this.time.now);
        node.kept.set(swarm.digest, size);
        node.swarms.close(session, true);
        node.onComplete();
      },
      onFailed: (error) => {
        node.failed.set(swarm.digest, error);
        node.swarms.close(session, false);
      },
    });
    return session;
  }

  #swarmsOf(node: WorldNode): Swarms {
    const { time } = this;
    const scheduler: Scheduler = {
      now: () => time.now,
      random: () => this.random(),
      after: (ms, callback) => time.after(ms, () => node.isAlive && !node.isFrozen && callback()),
    };
    return new Swarms({
      environment: {
        membership: this.#membershipOf(node),
        scheduler,
        parameters: this.parameters,
        client: { fetch: (member, request, events) => this.#ask(node, member, request, events) },
        acquainted: new Set(),
        slack: new Map(),
        pace: { ack: new Pace(...this.parameters.ack), stall: new Pace(...this.parameters.stall) },
        budget: new Budget(this.parameters.requests, scheduler),
        send: (peer, message) => this.#send(node, peer, message),
        state: (_swarm, _size, index) => ({ index, hash: HASH, by: node.member.peer, signature: SIGNATURE }),
        isGenuine: () => true,
        observer: {
          fetching: () => undefined,
          received: () => undefined,
          fetched: () => undefined,
          stumbled: () => undefined,
          sent: () => undefined,
          blamed: (_swarm, peer, reason) => void node.blamed.push({ peer, reason }),
        },
      },
      holds: (swarm, answer) => answer(node.kept.get(swarm.digest)),
      findProviders: () => undefined,
    });
  }

  #membershipOf(node: WorldNode): Membership {
    const suspects = new Map<PeerName, number>();
    const listeners = new Set<() => void>();
    let version = 0;
    let live: readonly Member[] | undefined;
    const changed = (): void => {
      version++;
      live = undefined;
      for (const listener of listeners) listener();
    };
    const membership: Membership = {
      self: node.member,
      get version() {
        return version;
      },
      live: () => {
        if (suspects.size === 0) return this.#live;
        live ??= this.#live.filter(({ peer }) => !suspects.has(peer));
        return live;
      },
      get: (peer) => this.#byName.get(peer)?.member,
      byFingerprint: () => undefined,
      suspect: (peer) => {
        if (suspects.has(peer)) return;
        suspects.set(peer, 1);
        this.time.after(1000, () => {
          suspects.delete(peer);
          changed();
        });
        changed();
      },
      absolve: () => undefined,
      ban: (peer) => {
        suspects.set(peer, Infinity);
        changed();
      },
      isBanned: () => false,
      suspects: () => [],
      onChange: (listener) => {
        listeners.add(listener);
        return () => void listeners.delete(listener);
      },
    };
    return membership;
  }

  #send(from: WorldNode, to: PeerName, message: SwarmMessage): void {
    this.messages++;
    from.peers.add(to);
    const target = this.node(to);
    this.time.after(target === from ? 0 : this.#options.latency, () => {
      if (!target.isAlive) from.swarms.unreachable(to);
      else if (!target.isFrozen) target.swarms.message(from.member.peer, message);
    });
  }

  #ask(from: WorldNode, member: Member, request: PieceRequest, events: PieceEvents): () => void {
    from.peers.add(member.peer);
    const { time } = this;
    const to = this.node(member.peer);
    const done = (bytes: number): void => this.#count(to, from, bytes);
    const transfer = new WorldTransfer({ ...this.#options, time, from, to, request, events, done });
    return () => transfer.cancel();
  }

  #count(from: WorldNode, to: WorldNode, bytes: number): void {
    to.fromPeers += bytes;
    const row = this.#byteOf.get(from.member.peer) ?? new Map<PeerName, number>();
    row.set(to.member.peer, (row.get(to.member.peer) ?? 0) + bytes);
    this.#byteOf.set(from.member.peer, row);
  }

  #fetch(
    node: WorldNode,
    layout: ChunkLayout,
    first: number,
    count: number,
    events: OriginEvents,
  ): () => void {
    let over = false;
    this.registryRequests++;
    const fault = this.registryFault();
    if (fault !== undefined) {
      this.time.after(this.#options.latency, () => {
        if (!over) events.ended(fault);
      });
      return () => void (over = true);
    }
    this.registryActive++;
    let index = first;
    let left = layout.length(index);
    const step = (): void => {
      if (over || !node.isAlive || node.isFrozen) {
        this.registryActive--;
        return;
      }
      const bytes = Math.min(STEP, left);
      left -= bytes;
      this.registryBytes += bytes;
      node.fromRegistry += bytes;
      events.progressed(bytes);
      if (left === 0) {
        events.chunk(index, NO_BYTES, () => undefined);
        index++;
        if (index >= first + count || over) {
          this.registryActive--;
          if (!over) events.ended(undefined);
          return;
        }
        left = layout.length(index);
      }
      this.time.after((Math.min(STEP, left) * this.registryActive) / this.#options.registry, step);
    };
    this.time.after(2 * this.#options.latency, () =>
      this.time.after((Math.min(STEP, left) * this.registryActive) / this.#options.registry, step),
    );
    return () => void (over = true);
  }
}

/** Names have the shape of peer IDs; nothing here looks into them. */
function memberNamed(index: number, zones: number): Member {
  return {
    peer: `12D3KooW${String(index).padStart(44, 'x')}` as PeerName,
    sequence: 1,
    name: `node-${index}`,
    zone: `zone-${index % zones}`,
    controlAddresses: [],
    dataAddresses: [],
    fingerprint: new Uint8Array(),
    version: 'test',
    leaving: false,
  };
}

export function testSwarm(name: string): SwarmKey {
  const hex = Buffer.from(name).toString('hex').padEnd(64, '0').slice(0, 64);
  return { registry: 'registry.test' as RegistryHost, digest: `sha256:${hex}` as Digest };
}

export const LAYER: number = 64 * MIB;
