/**
 * How the members find each other: the libp2p node and all traffic over it. What they say about blobs goes over the peer
 * wire instead (src/bytes/peer-wire.ts).
 *
 * Who owns what: libp2p-node.ts makes the libp2p node. The member table is handed in, and every record that arrives
 * reaches it through record-intake.ts. hellos.ts, member-sync.ts and gossip.ts carry records; dht.ts answers who has a blob. bootstrap.ts, neighbours.ts and dialer.ts make connections, heartbeats.ts
 * cuts dead ones, and peer-policy.ts decides what misbehaviour costs. This file starts and stops them, and drives
 * periodic work.
 *
 *     start → listen → bootstrap names → connection → member sync → gossip "I am here"
 *     stop  → "I leave" by gossip and to each connected peer → close
 */
import { repeat, within } from '../util/async.ts';
import { errorMessage, WeirError } from '../util/errors.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import type { ContentRouting } from './content-routing.ts';
import type { SignedMember } from '../protocol/signed-record.ts';
import { announced, isLoopback, parseBootstrap, systemLookup } from './addresses.ts';
import { Bootstrap, leadsNowhereNew } from './bootstrap.ts';
import type { BootstrapProblem } from './bootstrap-problems.ts';
import { Candidates } from './candidates.ts';
import { describe, type ConnectedPeer, type NetworkOptions } from './network-options.ts';
import { PeerPolicy } from './peer-policy.ts';
import { DhtRouting } from './dht.ts';
import { boundDht } from './dht-bounds.ts';
import { Dialer } from './dialer.ts';
import { announceFirst, type FirstAnnouncementOptions } from './first-announcement.ts';
import type { OnAborted } from './frame-stream.ts';
import { weirPeerIdOf } from './connection-gater.ts';
import { Gossip } from './gossip.ts';
import { Heartbeats } from './heartbeats.ts';
import { Hellos } from './hellos.ts';
import { RecordIntake } from './record-intake.ts';
import * as limits from './limits.ts';
import { MemberSync } from './member-sync.ts';
import { Neighbours } from './neighbours.ts';
import { createLibp2pNode, GOSSIP_TOPIC, type Libp2pNode } from './libp2p-node.ts';
import { SelfRecord } from './self-record.ts';

export class Network implements AsyncDisposable {
  /** Announces and finds the holders of blobs. */
  readonly contentRouting: ContentRouting;
  readonly #options: NetworkOptions;
  readonly #libp2p: Libp2pNode;
  readonly #self: SelfRecord;
  readonly #dialer: Dialer;
  readonly #peerPolicy: PeerPolicy;
  readonly #hellos: Hellos;
  readonly #memberSync: MemberSync;
  readonly #gossip: Gossip;
  readonly #neighbours: Neighbours;
  readonly #heartbeats: Heartbeats;
  readonly #candidates: Candidates;
  readonly #bootstrap: Bootstrap;
  readonly #stop: AbortController = new AbortController();
  readonly #running: Set<Promise<void>> = new Set();

  private constructor(options: NetworkOptions, libp2p: Libp2pNode) {
    const { table, clock, identity, selfInfo } = options;
    this.#options = options;
    this.#libp2p = libp2p;
    this.#self = new SelfRecord(identity, table, clock, selfInfo);
    this.#dialer = new Dialer(libp2p, table, clock);
    this.contentRouting = new DhtRouting({
      dht: libp2p.services.dht,
      self: identity.peer,
      table,
      dialer: this.#dialer,
    });
    const recordIntake = new RecordIntake(table, this.#self, () => this.#background(this.#announce()));
    this.#peerPolicy = new PeerPolicy({
      table,
      dialer: this.#dialer,
      clock,
      logger: options.logger,
      stopped: this.#stop.signal,
      drop: options.onHangUp,
      onUnreachable: options.onUnreachable,
    });
    const onAborted: OnAborted = (peer, error) => this.#peerPolicy.aborted(peer, error);
    boundDht(libp2p.services.dht, onAborted);
    const self = (): SignedMember => this.#self.current;
    const dialer = this.#dialer;
    this.#hellos = new Hellos({ libp2p, dialer, clock, recordIntake, self, onAborted });
    this.#memberSync = new MemberSync(libp2p, table, recordIntake, self, onAborted);
    this.#gossip = new Gossip(libp2p, GOSSIP_TOPIC, recordIntake);
    this.#neighbours = new Neighbours({
      libp2p,
      dialer: this.#dialer,
      table,
      clock,
      onUnreachable: (peer, error) => this.#peerPolicy.unreachable(peer, error),
      gossipPeers: () => this.#gossip.peers,
      isUsed: (peer) => this.#gossip.isMeshPeer(peer),
    });
    this.#heartbeats = new Heartbeats(clock);
    this.#candidates = new Candidates(clock);
    this.#bootstrap = new Bootstrap({
      entries: options.bootstrap.map(parseBootstrap),
      lookup: options.lookup ?? systemLookup,
      clock,
      candidates: this.#candidates,
      neighbours: () => this.#neighbours.count,
      isUseless: (address) => leadsNowhereNew(address, table, this.#neighbours.count > 0),
      dial: (address, signal) => this.#dialer.dial([address], { signal }),
      onConnected: (connection, signal) => this.#memberSync.run(connection, signal),
      onNamed: ({ remotePeer }) => {
        const peer = weirPeerIdOf(remotePeer);
        if (peer !== undefined) table.trust(peer);
      },
      onProblem: (message) => options.logger.debug({}, `bootstrap: ${message}`),
    });
  }

  /**
   * Listens, and looks for others in the background: a lone node is ready, too.
   * @throws WeirError `address_in_use`, `config_invalid`
   */
  static async start(options: NetworkOptions): Promise<Network> {
    const libp2p = await createLibp2pNode({
      ...options,
      version: options.selfInfo.version,
      announced: (listening) => announced(options.announce, listening),
      isRefused: (peer) => PeerPolicy.isRefused(options.table, peer),
      isKnown: (host) => options.table.names(host),
    });
    const network = new Network(options, libp2p);
    await network.#start();
    return network;
  }

  /** Multiaddrs that others are told, without the peer ID. */
  get addresses(): readonly string[] {
    return this.#libp2p.getMultiaddrs().map((address) => String(address).replace(/\/p2p\/[^/]+$/, ''));
  }

  get bootstrapProblem(): BootstrapProblem | undefined {
    return this.#bootstrap.problem;
  }

  /** The peer has answered elsewhere than over libp2p. */
  reached(peer: PeerId): void {
    const { table } = this.#options;
    if (table.suspicion(peer) === 'unreachable') table.clear(peer);
  }

  /** The same failed. The peer becomes a suspect. */
  unreachable(peer: PeerId, error: unknown): void {
    this.#peerPolicy.unreachable(peer, error);
  }

  /** The peer has broken the protocol elsewhere. */
  broken(peer: PeerId, error: unknown): void {
    this.#peerPolicy.aborted(peer, error);
  }

  /** The peer has closed a connection: whether it is still there is looked at. */
  gone(peer: PeerId): void {
    this.#background(this.#peerPolicy.disconnected(peer));
  }

  /**
   * Resolves when the peer has confirmed that it knows this node's record. If it does not, it becomes a suspect.
   * @throws WeirError `peer_unreachable`, `peer_refused`, `peer_cut`, `peer_stalled`, `peer_protocol`; the signal's
   *   reason
   */
  async ensureKnown(peer: PeerId, { signal }: { readonly signal?: AbortSignal } = {}): Promise<void> {
    try {
      await this.#hellos.exchange(peer, signal);
    } catch (error) {
      if (signal?.aborted !== true) this.#peerPolicy.unreachable(peer, error);
      throw error;
    }
  }

  /** Takes other cluster keys. Connections of those that are gone are closed in a while, and made anew. */
  useKeys(keys: readonly Uint8Array[]): void {
    const { clusterKeys } = this.#options;
    const options = { ...this.#options, libp2p: this.#libp2p, signal: this.#stop.signal };
    this.#background(clusterKeys.replace(keys, options));
  }

  peers(): readonly ConnectedPeer[] {
    return this.#libp2p.getConnections().flatMap((connection) => describe(connection) ?? []);
  }

  /** Tells the others that it leaves, and closes; within a second. */
  async stop(): Promise<void> {
    if (this.#stop.signal.aborted) return;
    const limit = AbortSignal.timeout(limits.LEAVE_TIMEOUT);
    const record = this.#self.leave();
    const connections = this.#libp2p.getConnections();
    const telling = connections.map((connection) => this.#hellos.tell(connection, limit));
    await within(limits.LEAVE_TIMEOUT, Promise.allSettled([this.#gossip.publish(record), ...telling]));
    this.#stop.abort(new WeirError('aborted', 'the node stops'));
    await within(limits.STOP_TIMEOUT, Promise.allSettled([this.#libp2p.stop(), ...this.#running]));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #start(): Promise<void> {
    const { table, clock, logger } = this.#options;
    // Handlers come before the first connection, which may use them at once.
    await Promise.all([this.#hellos.start(), this.#memberSync.start()]);
    this.#listen();
    try {
      await this.#libp2p.start();
    } catch (cause) {
      throw new WeirError('address_in_use', `cannot listen: ${errorMessage(cause)}`, { cause });
    }
    this.#gossip.start();
    this.#readAddresses();
    const { signal } = this.#stop;
    const onError = (error: unknown): void => logger.debug({ err: error }, 'network');
    const every = (interval: (turn: number) => number, work: () => Promise<void> | void): void => {
      this.#background(repeat(clock, signal, { interval, work, onError }));
    };
    this.#background(this.#bootstrap.run(signal));
    this.#background(this.#announceFirst());
    every(
      () => limits.MAINTENANCE_INTERVAL,
      () => {
        table.tick();
        this.#heartbeats.look();
        this.#neighbours.maintain(signal);
      },
    );
    every(
      (turn) => Math.min(limits.FIRST_SYNC_INTERVAL * 2 ** turn, limits.SYNC_INTERVAL),
      () => this.#compare(),
    );
    every(
      () => limits.ADDRESS_INTERVAL,
      () => this.#addressesChanged(),
    );
    every(
      () => limits.REFRESH_INTERVAL,
      async () => {
        this.#self.renew();
        await this.#announce();
      },
    );
  }

  #listen(): void {
    const { table, mdns } = this.#options;
    table.onBan((peer) => this.#peerPolicy.banned(peer));
    table.onExpired(({ leaving, peer, controlAddresses }) => {
      if (!leaving) this.#candidates.add(controlAddresses.map((address) => `${address}/p2p/${peer}`));
    });
    this.#libp2p.addEventListener('peer:disconnect', ({ detail }) => {
      const peer = weirPeerIdOf(detail);
      if (peer !== undefined) {
        this.#gossip.forget(peer);
        this.#background(this.#peerPolicy.disconnected(peer));
      }
      if (this.#neighbours.count === 0) this.#bootstrap.wake();
    });
    this.#libp2p.addEventListener('connection:open', ({ detail }) => {
      this.#heartbeats.add(detail);
      this.#neighbours.opened(detail, this.#stop.signal);
    });
    this.#libp2p.addEventListener('connection:close', ({ detail }) => {
      this.#heartbeats.remove(detail);
      const peer = weirPeerIdOf(detail.remotePeer);
      if (peer !== undefined) this.#peerPolicy.closed(peer, detail);
    });
    if (!mdns) return;
    this.#libp2p.addEventListener('peer:discovery', ({ detail: { id, multiaddrs } }) => {
      this.#candidates.add(
        multiaddrs.map((address) => `${String(address).replace(/\/p2p\/[^/]+$/, '')}/p2p/${String(id)}`),
      );
      if (this.#neighbours.count === 0) this.#bootstrap.wake();
    });
  }

  #readAddresses(): void {
    const { addresses } = this;
    const found = this.#options.dataAddresses?.(addresses);
    this.#self.change(found === undefined ? {} : { dataAddresses: found }, addresses);
  }

  /** An interface may get another address while the node runs: members would dial the old one until it restarts. */
  async #addressesChanged(): Promise<void> {
    const { table, logger } = this.#options;
    const { addresses } = this;
    const before = new Set(table.self.controlAddresses);
    if (addresses.length === before.size && addresses.every((address) => before.has(address))) return;
    // For a moment there may be no interface but loopback, where each member would find itself.
    if (!addresses.some((address) => !isLoopback(address))) return;
    logger.debug({ addresses }, 'the addresses of this node have changed');
    this.#readAddresses();
    await this.#announce();
  }

  async #announce(): Promise<void> {
    await this.#gossip.publish(this.#self.current);
  }

  #announceFirst(): Promise<void> {
    const options: FirstAnnouncementOptions = {
      clock: this.#options.clock,
      listeners: () => this.#gossip.listeners,
      publish: (record) => this.#gossip.publish(record),
      current: () => this.#self.current,
      renew: () => this.#self.renew(),
    };
    return announceFirst(options, this.#stop.signal);
  }

  async #compare(): Promise<void> {
    const connection = this.#neighbours.random();
    if (connection !== undefined) await this.#memberSync.run(connection, this.#stop.signal);
  }

  #background(work: Promise<void>): void {
    const ended = work.catch((error: unknown) => {
      if (!this.#stop.signal.aborted) this.#options.logger.debug({ err: error }, 'network');
    });
    this.#running.add(ended);
    void ended.finally(() => this.#running.delete(ended));
  }
}
