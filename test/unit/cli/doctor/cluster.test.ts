import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { bootstrapNames } from '../../../../src/cli/doctor/bootstrap.ts';
import { members, node } from '../../../../src/cli/doctor/node.ts';
import { memberPorts } from '../../../../src/cli/doctor/ports.ts';
import { fakeNode, peerOf, peerReportOf, statusOf } from '../../status/fixture.ts';
import { contextOf, type Scene } from './fixture.ts';

/** A TCP port that accepts, and one of which nobody knows. */
async function openPort(): Promise<{ port: number } & AsyncDisposable> {
  const server = createServer((socket) => socket.destroy());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: async () => {
      await once(server.close(), 'close');
    },
  };
}

const ALONE = statusOf({ cluster: { mode: 'keyed', members: 1, connections: 0, zones: { '': 1 } } });
const unknownName = () => Promise.reject(Object.assign(new Error('no such name'), { code: 'ENOTFOUND' }));

describe('weir doctor: bootstrap names', () => {
  const check = (scene: Scene) => bootstrapNames.run(contextOf(scene));
  const config = { 'cluster.bootstrap': ['weir.test:4772', '10.0.0.9:4772'] };

  it('are right if each leads to an address', async () => {
    const found = await check({ config, lookup: async () => ['10.0.0.7', '10.0.0.8'] });
    assert.deepEqual(found, { state: 'ok', found: 'weir.test:4772, 10.0.0.9:4772: 3 addresses' });
  });

  it('are wrong if one leads nowhere, and it is named', async () => {
    const { state, found, cure } = await check({ config, lookup: unknownName });
    assert.deepEqual([state, found], ['wrong', 'no address for weir.test:4772 (ENOTFOUND)']);
    assert.match(cure ?? '', /getent hosts/);
  });

  it('are not looked at if there are none', async () => {
    assert.equal((await check({})).state, 'skipped');
  });
});

describe('weir doctor: the node', () => {
  it('is wrong if nothing answers, and right if it serves', async () => {
    const silent = await node.run(contextOf());
    assert.equal(silent.state, 'wrong');
    assert.match(silent.found, /^no node answers at http:\/\/127\.0\.0\.1:1 \(connect ECONNREFUSED/);
    await using fake = await fakeNode();
    assert.deepEqual(await node.run(contextOf({ admin: fake.address })), {
      state: 'ok',
      found: 'node-a, weir 1.2.3: it serves',
    });
  });

  it('of another version than this program is a warning', async () => {
    await using fake = await fakeNode();
    const { state, found, cure } = await node.run(contextOf({ admin: fake.address, version: '1.3.0' }));
    assert.deepEqual([state, found], ['warning', 'node-a, weir 1.2.3 runs, and this is weir 1.3.0']);
    assert.match(cure ?? '', /restart/);
  });
});

describe('weir doctor: members', () => {
  const named = (port: number) => ({ 'cluster.bootstrap': [`127.0.0.1:${port}`] });

  it('are counted, and suspects are named', async () => {
    await using fake = await fakeNode();
    const admin = fake.address;
    assert.deepEqual(await members.run(contextOf({ admin })), {
      state: 'ok',
      found: '12 members, 9 connections',
    });
    const suspect = { peer: peerOf(2), name: 'node-2', reason: 'stalled', banned: false };
    fake.status = statusOf({ suspects: [{ ...suspect, until: new Date().toISOString() }] });
    const { state, found } = await members.run(contextOf({ admin }));
    assert.deepEqual([state, found], ['warning', '12 members, 9 connections; suspected: node-2 (stalled)']);
  });

  it('that are missing although a port answers there point to another key', async () => {
    await using fake = await fakeNode(ALONE);
    await using other = await openPort();
    const { state, found, cure } = await members.run(
      contextOf({ admin: fake.address, config: named(other.port) }),
    );
    assert.equal(state, 'wrong');
    assert.match(
      found,
      /^this node alone, although cluster\.bootstrap names 1 other, and a port answers there$/,
    );
    assert.match(cure ?? '', /key is probably another one/);
  });

  it('that are missing without a port point to the network', async () => {
    await using fake = await fakeNode(ALONE);
    const { state, found, cure } = await members.run(contextOf({ admin: fake.address, config: named(1) }));
    assert.equal(state, 'wrong');
    assert.match(found, /no port answers there \(ECONNREFUSED\)$/);
    assert.match(cure ?? '', /4772\/tcp.*4773\/tcp/);
  });

  it('are not missed if the name leads to this node alone', async () => {
    await using fake = await fakeNode(ALONE);
    const config = { 'cluster.bootstrap': ['weir.test:4772'] };
    const scene = { admin: fake.address, config, lookup: async () => ['127.0.0.1'] };
    assert.equal((await members.run(contextOf(scene))).state, 'warning');
    assert.equal((await members.run(contextOf({ admin: fake.address }))).state, 'ok');
  });
});

describe("weir doctor: members' ports", () => {
  it('are right if both accept connections', async () => {
    await using fake = await fakeNode();
    await using open = await openPort();
    const addresses = [`/ip4/127.0.0.1/tcp/${open.port}`];
    const transfer = [`127.0.0.1:1`, `127.0.0.1:${open.port}`];
    fake.peers = { peers: [peerReportOf(2, { addresses, transfer_addresses: transfer })] };
    assert.deepEqual(await memberPorts.run(contextOf({ admin: fake.address })), {
      state: 'ok',
      found: 'both ports of 1 member accept connections',
    });
  });

  it('are wrong if one does not, and it is named', async () => {
    await using fake = await fakeNode();
    await using open = await openPort();
    const addresses = [`/ip4/127.0.0.1/tcp/${open.port}`];
    const peer = peerReportOf(2, { addresses, transfer_addresses: ['127.0.0.1:1'] });
    const leaving = peerReportOf(3, { addresses: ['/ip4/127.0.0.1/tcp/1'], leaving: true });
    fake.peers = { peers: [leaving, peer] };
    const { state, found, cure } = await memberPorts.run(contextOf({ admin: fake.address }));
    assert.deepEqual([state, found], ['wrong', 'node-2: chunk port 1: ECONNREFUSED']);
    assert.match(cure ?? '', /4773\/tcp/);
  });

  it('are not tried without a node or other members', async () => {
    assert.equal((await memberPorts.run(contextOf())).state, 'skipped');
    await using fake = await fakeNode();
    fake.peers = { peers: [] };
    assert.equal((await memberPorts.run(contextOf({ admin: fake.address }))).state, 'skipped');
  });
});
