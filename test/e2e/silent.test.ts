/** What a node says by itself when it does nothing for anybody: its pulls work all the same. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { eventually } from '../support/eventually.ts';
import { freePort } from '../support/ports.ts';
import { MIB } from '../../src/util/clock.ts';
import { buildImage } from '../support/images.ts';
import { push } from '../support/push.ts';
import { runOk } from '../support/program.ts';
import { Registry } from '../support/registry.ts';
import { requires } from '../support/requires.ts';
import { TempDir } from '../support/temp.ts';
import { WEIR, WeirNode } from '../support/weir.ts';
import { controlAddress, knows, pullThrough } from '../support/weir-cluster.ts';

const KEY = 'the key of a cluster that is under test';

/** A node without peers, at the log level that operators have. */
async function lone(
  dir: TempDir,
  bootstrap: string,
  more: Readonly<Record<string, string>> = {},
): Promise<WeirNode> {
  const keyFile = dir.join('key');
  await writeFile(keyFile, KEY);
  return WeirNode.start({
    settings: {
      'cluster.key-file': keyFile,
      'cluster.bootstrap': bootstrap,
      'cluster.mdns': 'off',
      'cluster.alone-after': '1s',
      'log.level': 'info',
      ...more,
    },
  });
}

/** Warnings that it is alone. */
function warnings(node: WeirNode): readonly { readonly reason: string; readonly msg: string }[] {
  return node.log
    .split('\n')
    .filter((line) => line.includes('"msg":"this node is alone'))
    .map((line) => JSON.parse(line) as { reason: string; msg: string });
}

async function assertSays(node: WeirNode, reason: string, words: RegExp): Promise<void> {
  await node.logged(/this node is alone and pulls without peers/);
  const [warning] = warnings(node);
  assert.equal(warning?.reason, reason);
  assert.match(warning.msg, words);
  const { cluster } = await node.status();
  assert.equal(cluster.alone?.reason, reason);
  const metrics = await node.metrics();
  assert.equal(metrics.sum('weir_alone', { reason }), 1);
  assert.equal(metrics.sum('weir_alone'), 1);
  const text = await runOk(WEIR, ['status', '--admin', new URL(node.adminUrl).host]);
  assert.match(text, new RegExp(`alone for .*: ${reason} at `));
  assert.match(text, /cure: /);
  const ready = await fetch(`${node.adminUrl}/readyz`);
  assert.equal(ready.status, 200, 'readiness does not depend on it');
}

describe('a node that is alone although others are named', () => {
  let dir: TempDir;

  before(async () => {
    dir = await TempDir.create('silent');
  });

  after(async () => {
    await dir[Symbol.asyncDispose]();
  });

  it('says that the name does not resolve', async () => {
    await using node = await lone(dir, 'no-such-name.invalid:4772');
    await assertSays(node, 'unresolved', /no-such-name\.invalid:4772: the name does not resolve; /);
    assert.equal(warnings(node).length, 1);
  });

  it('says that the other one has another key', async () => {
    const other = dir.join('other-key');
    await writeFile(other, 'another key, of another cluster that is tested');
    await using stranger = await lone(dir, '', { 'cluster.key-file': other });
    await using node = await lone(dir, controlAddress(stranger));
    await assertSays(node, 'cluster-key', /it has another cluster key; give all nodes the same file/);
    assert.deepEqual(warnings(stranger), [], 'names nobody');
  });

  it('says that nothing listens at the address, until a node does', async () => {
    const address = `127.0.0.1:${await freePort()}`;
    await using node = await lone(dir, address);
    await assertSays(node, 'refused', /nothing listens there; start Weir there/);
    await using _late = await lone(dir, '', { 'cluster.listen': address });
    await knows(node, 2);
    await node.logged(/"level":"info".*another member was found/);
    const { cluster } = await node.status();
    assert.equal(cluster.alone, undefined);
    await eventually(async () => assert.equal((await node.metrics()).sum('weir_alone'), 0));
    assert.equal(warnings(node).length, 1);
  });

  for (const host of ['127.0.0.1', '0.0.0.0']) {
    it(`says nothing if the name leads to itself, listening on ${host}`, async () => {
      const port = await freePort();
      await using node = await lone(dir, `localhost:${port}`, {
        'cluster.listen': `${host}:${port}`,
        'cluster.alone-after': '500ms',
      });
      await eventually(async () => assert.ok((await node.status()).uptime_seconds > 2));
      assert.deepEqual(warnings(node), [], node.log);
      assert.equal((await node.metrics()).sum('weir_alone'), 0);
    });
  }
});

/** The 256 MiB that a node leaves free, and too little besides for a blob that is larger than the quota. */
const DISK = 280 * MIB;

requires('docker-registry', 'root')('a node whose pulls do less than they could', () => {
  it('counts the blobs above its quota, and names quota and size', async () => {
    await using stack = new AsyncDisposableStack();
    const registry = stack.use(await Registry.start());
    const image = await buildImage({ seed: 'unstored', layers: [3 * MIB] });
    await push(registry.url, 'silent/app', 'v1', image);
    const disk = stack.use(await TempDir.create('small'));
    await runOk('mount', ['-t', 'tmpfs', '-o', `size=${DISK}`, 'tmpfs', disk.path]);
    stack.defer(async () => void (await runOk('umount', [disk.path])));
    const node = stack.use(
      await WeirNode.start({
        settings: {
          'data.dir': disk.join('data'),
          'cluster.mode': 'off',
          'store.quota': '1MiB',
          'log.level': 'info',
        },
        registries: { [registry.host]: {} },
      }),
    );
    await pullThrough(node, `${registry.host}/silent/app:v1`);
    await node.logged(
      /a blob of [0-9]{7} bytes is larger than the quota of 1048576 bytes.*raise store\.quota/,
    );
    const { unstored } = await node.status();
    assert.deepEqual([unstored?.quota, unstored?.last?.cause], [1, 'quota']);
    assert.equal((await node.metrics()).sum('weir_unstored_blobs_total', { cause: 'quota' }), 1);
    const text = await runOk(WEIR, ['status', '--admin', new URL(node.adminUrl).host]);
    assert.match(text, /^not stored +quota 1/m);
    assert.ok(text.includes(`the last: ${unstored?.last?.digest.slice(7, 19)}`), text);
  });
});
