import assert from 'node:assert/strict';
import { parseBootstrap } from '../../../src/network/addresses.ts';
import {
  BootstrapProblems,
  placeOf,
  reasonOf,
  type BootstrapReason,
} from '../../../src/network/bootstrap-problems.ts';
import { Identity } from '../../../src/protocol/identity.ts';
import { WeirError } from '../../../src/util/errors.ts';
import { startBareNode } from '../../support/bare-node.ts';
import { ClusterKeys } from '../../../src/network/cluster-keys.ts';
import { BlackHole } from '../../support/black-hole.ts';
import { freePort } from '../../support/ports.ts';
import { KEY, startNetwork, until } from '../../support/test-network.ts';

const noName = (): Promise<never> => Promise.reject(new Error('getaddrinfo ENOTFOUND'));

/** The class that a node gives the failure of its bootstrap. */
async function reasonAt(
  bootstrap: string,
  options: Parameters<typeof startNetwork>[0] = {},
): Promise<BootstrapReason | undefined> {
  await using node = await startNetwork({ bootstrap: [bootstrap], ...options });
  await until('a problem', () => node.network.bootstrapProblem !== undefined);
  return node.network.bootstrapProblem?.reason;
}

describe('problems of the bootstrap', () => {
  it('name that does not resolve, or has no address', async () => {
    assert.equal(await reasonAt('weir.example:4772', { lookup: noName }), 'unresolved');
    assert.equal(await reasonAt('weir.example:4772', { lookup: () => Promise.resolve([]) }), 'unresolved');
  });

  it('port at which nothing listens', async () => {
    assert.equal(await reasonAt(`127.0.0.1:${await freePort()}`), 'refused');
  });

  it('address that does not answer', async () => {
    await using hole = await BlackHole.start();
    assert.equal(await reasonAt(hole.host), 'timeout');
  }).timeout(30_000);

  it('another cluster key', async () => {
    await using other = await startNetwork({ clusterKeys: new ClusterKeys([new Uint8Array(32).fill(8)]) });
    assert.equal(await reasonAt(other.address), 'cluster-key');
    assert.equal(await reasonAt(other.address, { clusterKeys: new ClusterKeys([]) }), 'cluster-key');
  });

  it('another version of the protocol', async () => {
    const stranger = await startBareNode(Identity.generate(), KEY, [{ host: '127.0.0.1', port: 0 }]);
    try {
      const [address] = stranger.getMultiaddrs();
      assert.equal(await reasonAt(String(address).replace(/\/p2p\/.*$/, '')), 'protocol');
    } finally {
      await stranger.stop();
    }
  });

  it('another node than the one that is named', async () => {
    await using other = await startNetwork();
    assert.equal(await reasonAt(`${other.address}/p2p/${Identity.generate().peer}`), 'peer-id');
  });

  it('is none if a member is found, or if the name leads to this node alone', async () => {
    await using other = await startNetwork();
    await using node = await startNetwork({ bootstrap: [other.address] });
    await until('a member', () => node.table.live().length > 1);
    assert.equal(node.network.bootstrapProblem, undefined);
    const port = await freePort();
    let asked = 0;
    await using lone = await startNetwork({
      listen: [{ host: '127.0.0.1', port }],
      bootstrap: [`weir.example:${port}`],
      lookup: () => {
        asked += 1;
        return Promise.resolve(['127.0.0.1']);
      },
    });
    await until('three rounds', () => asked > 3);
    assert.equal(lone.network.bootstrapProblem, undefined);
  });

  it('are told by the most telling one of a round, with the words of the operator', () => {
    const problems = new BootstrapProblems();
    const timeout = new WeirError('peer_unreachable', 'late', { detail: { reason: 'timeout' } });
    problems.add('a:1', timeout);
    assert.deepEqual(problems.worst, { reason: 'timeout', at: 'a:1', message: 'late' });
    const key = new Error('handshake stage 1 validation fail');
    problems.add('b:1', new WeirError('peer_unreachable', 'x'.repeat(1000), { cause: key }));
    problems.add('c:1', timeout);
    assert.equal(problems.worst?.at, 'b:1');
    assert.equal(problems.worst?.message.length, 200);
    problems.endRound();
    problems.add('c:1', timeout);
    assert.equal(problems.worst?.reason, 'cluster-key', 'until the next round is over');
    problems.endRound();
    assert.equal(problems.worst?.reason, 'timeout');
    problems.endRound();
    assert.equal(problems.worst, undefined);
  });

  it('are other ones if nothing is known of them', () => {
    const circle = new Error('a');
    circle.cause = circle;
    for (const odd of [circle, 'text', undefined]) assert.equal(reasonOf(odd), 'other');
    assert.equal(reasonOf(Object.assign(new Error('no'), { code: 'EHOSTUNREACH' })), 'unreachable');
    assert.equal(reasonOf(new WeirError('peer_cut', 'over')), 'cut');
  });

  it('name an address behind a name, and no address twice', () => {
    assert.equal(placeOf(parseBootstrap('weir:5'), '/ip4/10.0.0.1/tcp/5'), 'weir:5 (10.0.0.1)');
    assert.equal(placeOf(parseBootstrap('10.0.0.1:5'), '/ip4/10.0.0.1/tcp/5'), '10.0.0.1:5');
    assert.equal(placeOf(parseBootstrap('[::1]:5')), '[::1]:5');
  });
});
