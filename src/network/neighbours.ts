/**
 * Keeps 8 to 12 connections besides those in use, so that gossip and the DHT reach everybody at the price of a few: with
 * the peers of these this node gets acquainted (libp2p's identify), and then gossip and the DHT open their streams. Other
 * connections, made to tell somebody something, do without: that halves what one costs.
 *
 * It looks after suspects, too: who is unreachable is tried again just before its suspicion ends, so that the swarm does
 * not have to find out with a chunk whether it is back.
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

/** Dials and hang-ups that this begins in one round: all nodes do the same, and at the same time. */
const PER_ROUND = 3;
/** Suspects tried in one round. */
const PROBES_PER_ROUND = 8;
/** Milliseconds of this node's own time that a suspect has to answer a ping. */
const PING_TIMEOUT = 2 * SECOND;
/** A suspect is tried so long before its suspicion ends: the answer must be here by then. */
const PROBE_BEFORE = DIAL_TIMEOUT + HANDSHAKE_TIMEOUT + PING_TIMEOUT + SECOND;

export interface NeighboursOptions {
  readonly libp2p: Libp2pNode;
  readonly dialer: Dialer;
  readonly table: MemberTable;
  readonly clock: Clock;
  /** Whether something goes over this connection that closing it would cut. */
  readonly isUsed: (connection: Connection, peer: PeerId) => boolean;
  readonly onUnreachable: (peer: PeerId, error: unknown) => void;
  /** Peers with whom this node gossips. */
  readonly gossipPeers: () => ReadonlySet<PeerId>;
}

export class Neighbours {
  readonly #options: NeighboursOptions;
  readonly #dialling: Set<PeerId> = new Set();
  /** Over which it is asked what the peer speaks, now. */
  readonly #meeting: Set<Connection> = new Set();
  /** When it was last asked over a connection; on the monotonic clock. */
  readonly #asked: WeakMap<Connection, number> = new WeakMap();

  constructor(options: NeighboursOptions) {
    this.#options = options;
  }

  /** Connected peers. */
  get count(): number {
    return new Set(this.#options.libp2p.getConnections().map(({ remotePeer }) => weirPeerIdOf(remotePeer)))
      .size;
  }

  /** One look at all of it; what it begins goes on in the background. */
  maintain(signal: AbortSignal): void {
    this.#probe(signal);
    const missing = Math.min(PER_ROUND, MIN_NEIGHBOURS - this.#identified - this.#dialling.size);
    if (missing <= 0) return this.#trim();
    const strangers = this.#strangers().slice(0, missing);
    for (const connection of strangers) void this.#meet(connection, signal);
    this.#seek(missing - strangers.length, signal);
  }

  /** A connection has been opened, from either side. */
  opened(connection: Connection, signal: AbortSignal): void {
    if (this.#identified < MAX_IDLE_NEIGHBOURS) void this.#meet(connection, signal);
  }

  get #identified(): number {
    const peers = new Set(this.#options.gossipPeers());
    for (const { remotePeer } of this.#meeting) {
      const peer = weirPeerIdOf(remotePeer);
      if (peer !== undefined) peers.add(peer);
    }
    return peers.size;
  }

  /** Open connections whose peers do not gossip with this node, and have not just been asked whether they do. */
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
  async #meet(connection: Connection, signal: AbortSignal): Promise<void> {
    const { libp2p, clock } = this.#options;
    this.#meeting.add(connection);
    this.#asked.set(connection, clock.monotonic());
    try {
      await libp2p.services.identify.identify(connection, {
        signal: AbortSignal.any([signal, AbortSignal.timeout(IDENTIFY_TIMEOUT)]),
      });
    } catch {
      // It did not say; there are others.
    } finally {
      this.#meeting.delete(connection);
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

  /** Those whose suspicion is about to end: are they there? */
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
      // One that stalled may be frozen, or merely slow: if it answers, its suspicion ends as if nobody had asked.
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
      // A connection that is there already says nothing: a frozen peer keeps its own for a while.
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
    // Those with whom this node gossips stay, and the oldest: what has lasted lasts.
    const order = idle.sort(
      ([a, ofA], [b, ofB]) =>
        Number(identified.has(a)) - Number(identified.has(b)) || openedAt(ofB) - openedAt(ofA),
    );
    for (const [, connections] of order.slice(0, Math.max(0, excess)))
      for (const connection of connections) void close(connection);
  }

  #isIdle(peer: PeerId, connections: readonly Connection[]): boolean {
    const isOld = Date.now() - openedAt(connections) >= IDLE_CONNECTION;
    return isOld && !connections.some((connection) => this.#options.isUsed(connection, peer));
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
