/** A misbehaving member, or a stranger at the port, can do a network no harm: it is kept off. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes, randomInt } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import type { Connection } from '@libp2p/interface';
import { multiaddr } from '@multiformats/multiaddr';
import { MIB, systemClock } from '../../../src/util/clock.ts';
import type { Libp2pNode } from '../../../src/network/libp2p-node.ts';
import { MemberTable } from '../../../src/cluster/member-table.ts';
import { Identity } from '../../../src/protocol/identity.ts';
import { encodeHello } from '../../../src/protocol/sync-messages.ts';
import { encodeFrame } from '../../../src/protocol/frames.ts';
import { signMember, type SignedMember } from '../../../src/protocol/signed-record.ts';
import { startBareNode } from '../../support/bare-node.ts';
import { eventually } from '../../support/eventually.ts';
import { KEY, startNetwork, until, type TestNetwork } from '../../support/test-network.ts';

/** Streams for each of the five protocols; WEIR_ABUSE=20000 makes them 100,000. */
const STREAMS = Number(process.env['WEIR_ABUSE'] ?? 200);

/** Suspects nobody, so that the same peer can go on for as long as the test needs. */
class LenientTable extends MemberTable {
  violations = 0;

  override suspect(): void {
    this.violations += 1;
  }
}

describe('Network under attack', function () {
  this.timeout(Math.max(60_000, STREAMS * 50));
  let stack: AsyncDisposableStack;
  let victim: TestNetwork;
  let attacker: Libp2pNode;
  let identity: Identity;
  let record: SignedMember;

  const startVictim = async (own = Identity.generate(), table?: MemberTable): Promise<void> => {
    victim = stack.use(await startNetwork({ identity: own, ...(table === undefined ? {} : { table }) }));
  };
  const startAttacker = async (): Promise<void> => {
    identity = Identity.generate();
    const libp2p = await startBareNode(identity, KEY);
    stack.defer(() => libp2p.stop());
    attacker = libp2p;
    const own = { peer: identity.peer, sequence: 1, controlAddresses: [] };
    record = signMember(identity, { ...victim.table.self, ...own });
  };
  const dial = (): Promise<Connection> =>
    attacker.dial(multiaddr(`${victim.address}/p2p/${victim.peer}`), { signal: AbortSignal.timeout(5000) });
  const say = async (protocol: string, ...frames: readonly Uint8Array[]): Promise<void> => {
    const stream = await (await dial()).newStream(protocol);
    stream.send(Buffer.concat(frames.map(encodeFrame)));
  };
  const isSuspected = (): boolean => victim.table.suspicion(identity.peer) === 'protocol';
  /** Sends rubbish from another process; resolves with how many streams it could open for each protocol. */
  const flood = async (count: number): Promise<Readonly<Record<string, number>>> => {
    const args = [
      `${import.meta.dirname}/attacker.ts`,
      `${victim.address}/p2p/${victim.peer}`,
      String(count),
    ];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    stack.defer(() => void child.kill('SIGKILL'));
    const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
    return JSON.parse(line) as Readonly<Record<string, number>>;
  };
  /** Checks that the victim still answers a decent peer. */
  const isWell = async (): Promise<void> => {
    await using friend = await startNetwork({ bootstrap: [victim.address] });
    await until('a friend is known', () => victim.table.live().some(({ peer }) => peer === friend.peer));
    await until('the victim is known', () => friend.table.get(victim.peer) !== undefined);
    await friend.network.ensureKnown(victim.peer);
  };

  beforeEach(() => void (stack = new AsyncDisposableStack()));
  afterEach(() => stack.disposeAsync());

  it(`takes ${STREAMS} streams of rubbish at each protocol, in bounded memory`, async () => {
    const own = Identity.generate();
    const table = new LenientTable({ self: own.peer, clock: systemClock });
    await startVictim(own, table);
    await flood(100); // code that is loaded and compiled for the first ones is no leak
    const before = process.memoryUsage().rss;
    const said = await flood(STREAMS);
    const grown = (process.memoryUsage().rss - before) / MIB;
    assert.ok(
      Object.values(said).every((count) => count >= STREAMS * 0.99),
      JSON.stringify(said),
    );
    assert.ok(grown < 100, `the process grew by ${grown} MiB`);
    assert.ok(table.violations > STREAMS, `${table.violations} violations were seen`);
    assert.ok(table.size <= 4, `${table.size} members are known`);
    await isWell();
  });

  it('keeps a peer that breaks the protocol off, for longer each time', async () => {
    await startVictim();
    await startAttacker();
    await say('/weir/hello/1.0', randomBytes(40));
    await until('it is suspected', isSuspected);
    assert.deepEqual(victim.network.peers(), []);
    await assert.rejects(dial().then((connection) => connection.newStream('/weir/hello/1.0')));
    await until('the suspicion ends', () => !isSuspected());
    await say('/weir/hello/1.0', randomBytes(40));
    await until('it is suspected again', isSuspected);
    const [suspect] = victim.table.suspects();
    assert.ok((suspect?.until ?? 0) - Date.now() > 1000);
  });

  it('refuses a hello with the record of another peer, or with a forged one', async () => {
    await startVictim();
    const stranger = Identity.generate();
    for (const make of [
      () => signMember(stranger, { ...record.member, peer: stranger.peer }),
      () => ({ ...record, signature: randomBytes(64) }),
    ]) {
      await startAttacker();
      await say('/weir/hello/1.0', encodeHello(make()));
      await until('it is suspected', isSuspected);
      assert.equal(victim.table.live().length, 1);
    }
  });

  it('closes streams that send nothing, or one byte now and then', async () => {
    await startVictim();
    await startAttacker();
    const connection = await dial();
    const slow = await connection.newStream('/weir/hello/1.0');
    const silent = await connection.newStream('/weir/members/1.0');
    slow.send(Uint8Array.from([100]));
    const drip = setInterval(() => {
      if (slow.status === 'open') slow.send(Uint8Array.from([1]));
    }, 100);
    stack.defer(() => clearInterval(drip));
    const open = (): readonly string[] => [slow.status, silent.status].filter((status) => status === 'open');
    await eventually(() => assert.deepEqual(open(), []), 10_000);
  });

  it('limits the open streams of one peer', async () => {
    await startVictim();
    await startAttacker();
    const connection = await dial();
    const opening = Array.from({ length: 200 }, () =>
      connection.newStream('/weir/hello/1.0', { maxOutboundStreams: 1000 }),
    );
    await Promise.allSettled(opening);
    await eventually(() => {
      const { length } = connection.streams;
      assert.ok(length <= 30, `${length} streams are open`);
    });
    await isWell();
  });

  it('survives a stranger that sends nonsense to its port', async () => {
    await startVictim();
    const port = Number(victim.address.split('/').at(-1));
    const open = async (): Promise<Socket> => {
      const socket = connect({ host: '127.0.0.1', port });
      socket.on('error', () => undefined);
      await once(socket, 'connect');
      return socket.resume();
    };
    const knock = async (bytes: Uint8Array): Promise<void> => {
      const socket = await open();
      socket.write(bytes);
      if (randomInt(4) > 0) socket.end();
      await systemClock.sleep(randomInt(20));
      socket.destroy();
    };
    const hello = Buffer.from('\x13/multistream/1.0.0\n\x07/noise\n', 'latin1');
    for (let round = 0; round < 20; round += 1) {
      const lines = Array.from({ length: 10 }, (_, i) => {
        const noise = randomBytes(randomInt(1, 2000));
        return knock(i % 2 === 0 ? noise : Buffer.concat([hello, noise]));
      });
      await Promise.all(lines);
    }
    // A silent crowd: one address gets only so many handshakes, and each only for a short time.
    const crowd = await Promise.all(Array.from({ length: 200 }, open));
    stack.defer(() => crowd.forEach((socket) => socket.destroy()));
    assert.deepEqual(victim.network.peers(), []);
    await until('they are thrown out', () => crowd.every(({ destroyed }) => destroyed), 30_000);
    await isWell();
  });
});
