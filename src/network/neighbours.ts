/**
 * Keeps 8 to 12 connections besides those in use, so that gossip and the DHT reach everybody at a low price. With the
 * peers of these connections this node runs libp2p's identify, and then gossip and the DHT open their streams.
 * Connections that were made only to send a message do without, which halves their cost.
 *
 * It also probes suspects: an unreachable peer is tried again just before its suspicion ends. Otherwise the swarm
 * would have to find out with a chunk whether it is back.
 */
import type { Connection } from '@libp2p/interface';
import { SECOND, type Clock } from '../util/clock.ts';
import { toError, WeirError } from '../util/errors.ts';
import type { Member } from '../protocol/member.ts';
import type { MemberTable } from '../cluster/member-table.ts';
import { ActiveTimer } from '../util/active-time.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import type { Dialer } from './dialer.ts';
import { weirPeerIdOf } from './connection-gater.ts';
import {
  DIAL_TIMEOUT,
  HANDSHAKE_TIMEOUT,
  IDENTIFY_AGAIN,
  IDENTIFY_TIMEOUT,
  IDLE_CONNECTION,
  MAX_IDLE_NEIGHBOURS,
  MIN_NEIGHBOURS,
} from './limits.ts';
import type { Libp2pNode } from './libp2p-node.ts';

/** Dials and closes begun in one round: all nodes do the same at the same time. */
const PER_ROUND = 3;
/** Suspects tried in one round. */
const PROBES_PER_ROUND = 8;
/** Milliseconds of active time that a suspect has to answer a ping. */
const PING_TIMEOUT = 2 * SECOND;
/** How long before the end of its suspicion a suspect is tried: the answer must be here by then. */
const PROBE_BEFORE = DIAL_TIMEOUT + HANDSHAKE_TIMEOUT + PING_TIMEOUT + SECOND;

export interface NeighboursOptions {
  readonly libp2p: Libp2pNode;
  readonly dialer: Dialer;
  readonly table: MemberTable;
  readonly clock: Clock;
  /** Whether closing this connection would cut something. */
  readonly isUsed: (peer: PeerId) => boolean;
  readonly onUnreachable: (peer: PeerId, error: unknown) => void;
  /** Peers with whom this node gossips. */
  readonly gossipPeers: () => ReadonlySet<PeerId>;
}

export class Neighbours {
  readonly #options: NeighboursOptions;
  readonly #dialling: Set<PeerId> = new Set();
  /** Connections over which identify is under way. */
  readonly #identifying: Set<Connection> = new Set();
  /** When identify last ran over a connection; on the monotonic clock. */
  readonly #asked: WeakMap<Connection, number> = new WeakMap();

  constructor(options: NeighboursOptions) {
    this.#options = options;
  }

  /** How many peers are connected. */
  get count(): number {
    return new Set(this.#options.libp2p.getConnections().map(({ remotePeer }) => weirPeerIdOf(remotePeer)))
      .size;
  }

  /** One round of maintenance. Dials that it begins go on in the background. */
  maintain(signal: AbortSignal): void {
    this.#probe(signal);
    const missing = Math.min(PER_ROUND, MIN_NEIGHBOURS - this.#identified - this.#dialling.size);
    if (missing <= 0) return this.#trim();
    const strangers = this.#strangers().slice(0, missing);
    for (const connection of strangers) void this.#identify(connection, signal);
    this.#seek(missing - strangers.length, signal);
  }

  /** To be called when a connection was opened, by either side. */
  opened(connection: Connection, signal: AbortSignal): void {
    if (this.#identified < MAX_IDLE_NEIGHBOURS) void this.#identify(connection, signal);
  }

  get #identified(): number {
    const peers = new Set(this.#options.gossipPeers());
    for (const { remotePeer } of this.#identifying) {
      const peer = weirPeerIdOf(remotePeer);
      if (peer !== undefined) peers.add(peer);
    }
    return peers.size;
  }

  /** Open connections to peers without gossip, except those asked lately. */
  #strangers(): readonly Connection[] {
    const { libp2p, clock, gossipPeers } = this.#options;
    const identified = gossipPeers();
    const before = clock.monotonic() - IDENTIFY_AGAIN;
    return libp2p.getConnections().filter((connection) => {
      const peer = weirPeerIdOf(connection.remotePeer);
      const isAsked = (this.#asked.get(connection) ?? -Infinity) > before;
      return connection.status === 'open' && !isAsked && peer !== undefined && !identified.has(peer);
    });
  }

  /** Never throws. */
  async #identify(connection: Connection, signal: AbortSignal): Promise<void> {
    const { libp2p, clock } = this.#options;
    this.#identifying.add(connection);
    this.#asked.set(connection, clock.monotonic());
    try {
      await libp2p.services.identify.identify(connection, {
        signal: AbortSignal.any([signal, AbortSignal.timeout(IDENTIFY_TIMEOUT)]),
      });
    } catch {
      // There are other peers.
    } finally {
      this.#identifying.delete(connection);
    }
  }

  /** A random connected member. */
  random(): Connection | undefined {
    const { libp2p, clock } = this.#options;
    const connections = libp2p.getConnections().filter(({ status }) => status === 'open');
    return connections[Math.floor(clock.random() * connections.length)];
  }

  #seek(count: number, signal: AbortSignal): void {
    const { table, clock, dialer } = this.#options;
    const strangers = table
      .live()
      .filter(
        ({ peer }) => peer !== table.self.peer && !this.#dialling.has(peer) && !dialer.isConnected(peer),
      );
    for (let i = 0; i < count && strangers.length > 0; i += 1) {
      const [member] = strangers.splice(Math.floor(clock.random() * strangers.length), 1);
      if (member !== undefined) void this.#dial(member, signal);
    }
  }

  /** Tries the suspects whose suspicion ends soon. */
  #probe(signal: AbortSignal): void {
    const { table, clock } = this.#options;
    const soon = clock.now() + PROBE_BEFORE;
    let probes = 0;
    for (const { peer, reason, until, banned } of table.suspects()) {
      const isGone = reason === 'unreachable';
      if (banned || (!isGone && reason !== 'stalled') || until > soon || this.#dialling.has(peer)) continue;
      const member = table.get(peer);
      if (member === undefined || member.leaving) continue;
      probes += 1;
      if (probes > PROBES_PER_ROUND) return;
      // A stalled peer may be frozen or merely slow. If it answers, its suspicion ends at its usual time.
      if (isGone) table.prolong(peer, PROBE_BEFORE);
      void this.#dial(member, signal);
    }
  }

  /** Never throws. */
  async #dial({ peer }: Member, signal: AbortSignal): Promise<void> {
    const { dialer, table, onUnreachable } = this.#options;
    this.#dialling.add(peer);
    try {
      const connection = await dialer.connect(peer, { signal });
      // An open connection proves nothing: a frozen peer keeps its connections for a while.
      if (table.suspicion(peer) !== undefined) await this.#ping(connection, signal);
      if (table.suspicion(peer) === 'unreachable') table.clear(peer);
    } catch (error) {
      if (!signal.aborted) onUnreachable(peer, error);
    } finally {
      this.#dialling.delete(peer);
    }
  }

  async #ping(connection: Connection, signal: AbortSignal): Promise<void> {
    using time = new ActiveTimer(this.#options.clock, PING_TIMEOUT, noAnswer);
    const limit = AbortSignal.any([signal, time.signal]);
    try {
      await this.#options.libp2p.services.ping.ping(connection.remotePeer, { signal: limit });
    } catch (error) {
      connection.abort(toError(error));
      throw error;
    }
  }

  #trim(): void {
    const idle = [...this.#byPeer()].filter(([peer, connections]) => this.#isIdle(peer, connections));
    const excess = Math.min(this.count - MAX_IDLE_NEIGHBOURS, idle.length, PER_ROUND);
    const identified = this.#options.gossipPeers();
    // Gossip peers are closed last, and newer connections before older ones: old ones are likely to last.
    const order = idle.sort(
      ([a, ofA], [b, ofB]) =>
        Number(identified.has(a)) - Number(identified.has(b)) || openedAt(ofB) - openedAt(ofA),
    );
    for (const [, connections] of order.slice(0, Math.max(0, excess)))
      for (const connection of connections) void close(connection);
  }

  #isIdle(peer: PeerId, connections: readonly Connection[]): boolean {
    const isOld = Date.now() - openedAt(connections) >= IDLE_CONNECTION;
    return isOld && !this.#options.isUsed(peer);
  }

  #byPeer(): ReadonlyMap<PeerId, Connection[]> {
    const byPeer = new Map<PeerId, Connection[]>();
    for (const connection of this.#options.libp2p.getConnections()) {
      const peer = weirPeerIdOf(connection.remotePeer);
      if (peer === undefined || connection.status !== 'open') continue;
      const known = byPeer.get(peer);
      if (known === undefined) byPeer.set(peer, [connection]);
      else known.push(connection);
    }
    return byPeer;
  }
}

function noAnswer(limit: string): WeirError {
  return new WeirError('peer_unreachable', `no answer to a ping within ${limit}`);
}

/** Milliseconds since the epoch. */
function openedAt(connections: readonly Connection[]): number {
  return Math.max(...connections.map(({ timeline }) => timeline.open));
}

async function close(connection: Connection): Promise<void> {
  try {
    await connection.close();
  } catch (error) {
    connection.abort(toError(error));
  }
}
