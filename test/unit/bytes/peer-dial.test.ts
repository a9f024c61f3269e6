/** Dials: the addresses of a member, and the turns in which members are dialled. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import type { Address } from '../../../src/protocol/member.ts';
import { eventually } from '../../support/eventually.ts';
import { LOOPBACK, makeNode, memberOf } from '../../support/raw-peer.ts';
import {
  askChunk,
  askFails,
  begin,
  messageOf,
  requestFor,
  Scene,
  WireNode,
  type Begun,
} from './peer-scene.ts';

const MEMBERS = 12;

async function closedPort(): Promise<Address> {
  const server = createServer().listen(0, LOOPBACK);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return { host: LOOPBACK, port };
}

/** A port that accepts connections and sends nothing. */
async function silentPort() {
  const sockets: Socket[] = [];
  const server = createServer((socket) => void sockets.push(socket.on('error', () => undefined).resume()));
  server.listen(0, LOOPBACK);
  await once(server, 'listening');
  const address = { host: LOOPBACK, port: (server.address() as AddressInfo).port };
  return {
    address,
    sockets,
    async [Symbol.asyncDispose]() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** A node that asks members which all have the silent port. */
async function withSilent() {
  const silent = await silentPort();
  const asking = await WireNode.start();
  const dialled = (): number => silent.sockets.length;
  return {
    silent,
    asking,
    dialled,
    /** Begins a request to a new member. */
    begin(): Begun & { readonly member: ReturnType<typeof memberOf> } {
      const member = memberOf(makeNode(), [silent.address]);
      asking.members.add(member);
      return { ...begin(asking, member, requestFor(0, 1)), member };
    },
    /** Waits for so many connections, and some time for more, which would be too many. */
    async settled(count: number): Promise<void> {
      await eventually(() => assert.ok(dialled() >= count));
      for (let i = 0; i < 30; i++) await new Promise(setImmediate);
      assert.equal(dialled(), count);
    },
    async [Symbol.asyncDispose]() {
      await asking[Symbol.asyncDispose]();
      await silent[Symbol.asyncDispose]();
    },
  };
}

describe('the addresses of a member', () => {
  it('are tried a little apart, and the first one that answers is used', async () => {
    await using scene = await Scene.start();
    await using silent = await silentPort();
    const { asking, serving } = scene;
    const dataAddresses = [await closedPort(), silent.address, scene.address];
    asking.members.add({ ...serving.member, dataAddresses });
    const began = performance.now();
    await Promise.all([1, 2, 3].map((i) => askChunk(asking, serving, requestFor(i, 100 + i))));
    assert.ok(performance.now() - began < 900, 'the node waited for the silent address');
    const tried = silent.sockets.length;
    await askChunk(asking, serving, requestFor(9, 100));
    assert.deepEqual([silent.sockets.length, serving.wire.connections], [tried, 1]);
  });

  it('that all fail make it unreachable, with the reasons', async () => {
    await using silent = await silentPort();
    await using scene = await Scene.start();
    const { asking, serving } = scene;
    const dataAddresses = [await closedPort(), silent.address, { host: 'peer.invalid', port: 1 }];
    asking.members.add({ ...serving.member, dataAddresses });
    const error = await askFails('peer_unreachable', asking, serving, requestFor(0, 1));
    assert.match(error.message, /ECONNREFUSED.*no connection within 6 s.*peer\.invalid is no IP address/);
    assert.deepEqual(asking.introduced, [], 'it is no stranger there');
    asking.members.add({ ...serving.member, dataAddresses: [] });
    await askFails('peer_unreachable', asking, serving, requestFor(0, 1));
    assert.equal(asking.unreachable.length, 2);
  }).slow(15_000);

  it('are those of its newest record', async () => {
    await using one = await Scene.start();
    await using two = await Scene.start();
    two.serving.knows(one.asking);
    await askChunk(one.asking, one.serving, requestFor(0, 10));
    const { dataAddresses, fingerprint } = two.serving.member;
    one.asking.members.add({ ...one.serving.member, dataAddresses, fingerprint });
    // The other node greets as itself, so it is not taken for the member that has moved.
    await askFails('peer_protocol', one.asking, one.serving, requestFor(0, 10));
    assert.equal(two.serving.reports.length, 0);
    await eventually(() => assert.equal(one.serving.wire.connections, 0));
  });
});

describe('dialling', () => {
  it('dials eight members at a time, and the others wait for their turn', async () => {
    await using scene = await withSilent();
    const asked = Array.from({ length: MEMBERS }, () => scene.begin());
    await scene.settled(8);
    assert.deepEqual(
      asked.map(({ turns }) => turns.count),
      asked.map((_, at) => Number(at < 8)),
    );
    for (let over = 0; over < MEMBERS; over++) {
      scene.silent.sockets[over]?.destroy();
      await scene.settled(Math.min(MEMBERS, 9 + over));
    }
    for (const { ended } of asked) assert.equal((await ended).error?.code, 'peer_unreachable');
    assert.ok(asked.every(({ turns }) => turns.count === 1));
  });

  it('tells each request when its turn has come, also requests that join a dial', async () => {
    await using scene = await withSilent();
    const asked = Array.from({ length: MEMBERS }, () => scene.begin());
    await scene.settled(8);
    const [first, last] = [asked[0], asked.at(-1)];
    assert.ok(first !== undefined && last !== undefined);
    const joined = begin(scene.asking, first.member, requestFor(1, 2));
    const late = begin(scene.asking, last.member, requestFor(1, 2));
    await eventually(() => assert.equal(joined.turns.count, 1));
    assert.equal(late.turns.count, 0);
    for (let over = 0; over < MEMBERS; over++) {
      await eventually(() => assert.ok(scene.silent.sockets[over] !== undefined));
      scene.silent.sockets[over]?.destroy();
    }
    await late.ended;
    assert.deepEqual([late.turns.count, late.events], [1, ['peer_unreachable']]);
    assert.deepEqual((await joined.ended).error?.code, 'peer_unreachable');
  });

  it('takes one turn for all that is to be said to a member', async () => {
    await using scene = await withSilent();
    const first = scene.begin();
    const asked = Array.from({ length: 20 }, () => begin(scene.asking, first.member, requestFor(0, 1)));
    for (let i = 0; i < 10; i++) scene.asking.wire.send(first.member.peer, messageOf(i));
    await scene.settled(1);
    scene.silent.sockets[0]?.destroy();
    for (const { ended } of [first, ...asked]) assert.equal((await ended).error?.code, 'peer_unreachable');
    assert.equal(scene.dialled(), 1);
    assert.equal(scene.asking.unreachable.length, 1);
  });

  it('is left out if nothing needs it any more when its turn comes', async () => {
    await using scene = await withSilent();
    const others = Array.from({ length: 8 }, () => scene.begin());
    await scene.settled(8);
    const late = scene.begin();
    const after = scene.begin();
    await eventually(() => assert.ok(scene.asking.wire.isConnected(late.member.peer)));
    late.cancel();
    await scene.settled(8); // and the worker has been told
    scene.silent.sockets[0]?.destroy();
    await Promise.race(others.map(({ ended }) => ended));
    await eventually(() => assert.equal(after.turns.count, 1));
    await scene.settled(9);
    assert.deepEqual([late.turns.count, late.events], [0, []]);
    assert.equal(scene.asking.wire.isConnected(late.member.peer), false);
  });

  it('ends with the node', async () => {
    await using scene = await withSilent();
    const asked = Array.from({ length: MEMBERS }, () => scene.begin());
    await scene.settled(8);
    await scene.asking.wire[Symbol.asyncDispose]();
    for (const { ended } of asked) assert.equal((await ended).error?.code, 'aborted');
    await eventually(() => assert.ok(scene.silent.sockets.every(({ destroyed }) => destroyed)));
    assert.equal(scene.dialled(), 8);
  });
});
