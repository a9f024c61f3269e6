import assert from 'node:assert/strict';
import type { Connection, PeerId as Libp2pPeerId } from '@libp2p/interface';
import { peerIdFromString } from '@libp2p/peer-id';
import type { Dialer } from '../../../src/network/dialer.ts';
import {
  IDENTIFY_AGAIN,
  IDLE_CONNECTION,
  MAX_IDLE_NEIGHBOURS,
  MIN_NEIGHBOURS,
} from '../../../src/network/limits.ts';
import { Neighbours } from '../../../src/network/neighbours.ts';
import type { Libp2pNode } from '../../../src/network/libp2p-node.ts';
import { MemberTable } from '../../../src/cluster/member-table.ts';
import { Identity } from '../../../src/protocol/identity.ts';
import type { PeerId } from '../../../src/protocol/peer-id.ts';
import { ManualClock } from '../cluster/clock.ts';

/** Fake connections. A peer gossips once it is identified, as with the real services. */
class Scene {
  readonly connections: Connection[] = [];
  readonly identified: Connection[] = [];
  readonly closed: Connection[] = [];
  readonly gossip: Set<PeerId> = new Set();
  /** What identify does. */
  identify: (connection: Connection) => Promise<void> = async ({ remotePeer }) => {
    this.gossip.add(remotePeer.toString() as PeerId);
  };
  readonly clock: ManualClock = new ManualClock();
  readonly neighbours: Neighbours;
  readonly #signal: AbortSignal = new AbortController().signal;

  constructor() {
    const { clock } = this;
    const libp2p = {
      getConnections: () => this.connections,
      services: {
        identify: {
          identify: (connection: Connection) => {
            this.identified.push(connection);
            return this.identify(connection);
          },
        },
      },
    } as unknown as Libp2pNode;
    this.neighbours = new Neighbours({
      libp2p,
      dialer: { isConnected: () => false } as unknown as Dialer,
      table: new MemberTable({ self: Identity.generate().peer, clock, banned: [] }),
      clock,
      gossipPeers: () => this.gossip,
      isUsed: () => false,
      onUnreachable: () => undefined,
    });
  }

  /** A connection that was opened so many milliseconds ago. */
  open(age = 0): Connection {
    const remotePeer: Libp2pPeerId = peerIdFromString(Identity.generate().peer);
    const connection = {
      remotePeer,
      status: 'open',
      timeline: { open: Date.now() - age },
      close: async () => void this.closed.push(connection),
    } as unknown as Connection;
    this.connections.push(connection);
    this.neighbours.opened(connection, this.#signal);
    return connection;
  }

  async maintain(): Promise<void> {
    this.neighbours.maintain(this.#signal);
    await new Promise(setImmediate);
  }
}

describe('Neighbours', () => {
  it('identifies only so many peers, and leaves the other connections as they are', async () => {
    const scene = new Scene();
    for (let n = 0; n < 40; n += 1) scene.open();
    await scene.maintain();
    assert.equal(scene.identified.length, MAX_IDLE_NEIGHBOURS);
  });

  it('identifies more peers over open connections when some are gone', async () => {
    const scene = new Scene();
    for (let n = 0; n < 40; n += 1) scene.open();
    await scene.maintain();
    scene.connections.splice(0, MAX_IDLE_NEIGHBOURS);
    scene.gossip.clear();
    for (let turn = 0; turn < 10; turn += 1) await scene.maintain();
    assert.equal(scene.gossip.size, MIN_NEIGHBOURS);
    assert.equal(new Set(scene.identified).size, MAX_IDLE_NEIGHBOURS + MIN_NEIGHBOURS);
  });

  it('identifies a peer that did not answer again only after a while', async () => {
    const scene = new Scene();
    scene.identify = () => Promise.reject(new Error('no'));
    for (let n = 0; n < 4; n += 1) scene.open();
    for (let turn = 0; turn < 5; turn += 1) await scene.maintain();
    assert.equal(scene.identified.length, 4);
    scene.clock.advance(IDENTIFY_AGAIN);
    for (let turn = 0; turn < 5; turn += 1) await scene.maintain();
    assert.equal(scene.identified.length, 8);
  });

  it('closes connections to unidentified peers first, then the newest', async () => {
    const scene = new Scene();
    const old = 2 * IDLE_CONNECTION;
    const identified = Array.from({ length: MAX_IDLE_NEIGHBOURS }, (_, n) => scene.open(old - n));
    await scene.maintain();
    const others = [scene.open(2 * old), scene.open(2 * old)];
    await scene.maintain();
    assert.deepEqual(new Set(scene.closed), new Set(others));
    scene.connections.splice(MAX_IDLE_NEIGHBOURS, others.length);
    scene.closed.length = 0;
    const last = scene.open(old - 100);
    scene.gossip.add(last.remotePeer.toString() as PeerId);
    await scene.maintain();
    assert.deepEqual(scene.closed, [last]);
    assert.ok(!identified.includes(last));
  });
});
