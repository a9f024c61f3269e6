/** Limits of bytes per second, measured on real transfers, and changed while the nodes run. */
import assert from 'node:assert/strict';
import { MIB, SECOND } from '../../src/util/clock.ts';
import { eventually } from '../support/eventually.ts';
import { shared } from '../support/fixture.ts';
import { buildImage } from '../support/images.ts';
import { push } from '../support/push.ts';
import { Registry } from '../support/registry.ts';
import { requires } from '../support/requires.ts';
import { pullThrough, WeirCluster } from '../support/weir-cluster.ts';
import { WeirNode } from '../support/weir.ts';

/** Bytes of the one layer of each image. */
const LAYER = 24 * MIB;
/** Above a limit: bursts, and the bytes that sockets hold already when they are paused. */
const SLACK = 1.35;
const TAGS = ['a', 'b', 'c', 'd'];

async function seconds(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return (performance.now() - began) / SECOND;
}

requires('docker-registry')('limits', () => {
  const lab = shared(async (stack) => {
    const registry = stack.use(await Registry.start());
    for (const tag of TAGS) {
      await push(registry.url, 'app', tag, await buildImage({ seed: `limits-${tag}`, layers: [LAYER] }));
    }
    return registry;
  });

  it('bytes from registries are limited, and not any more after a reload', async () => {
    const registry = lab();
    const sections = (rate: string) => ({ upstream: { 'max-download': rate } });
    await using node = await WeirNode.start({ sections: sections('6MiB/s') });
    const limited = await seconds(() => pullThrough(node, `${registry.host}/app:a`));
    assert.ok(limited > LAYER / (6 * MIB * SLACK), `${limited} s`);
    assert.ok(limited < 15, `${limited} s`);
    await node.configure({ sections: sections('none') });
    await eventually(() => assert.match(node.log, /"upstream.max-download"\],"msg":"configuration reloaded/));
    const free = await seconds(() => pullThrough(node, `${registry.host}/app:b`));
    assert.ok(free < limited / 2, `${free} s without a limit, ${limited} s with one`);
  });

  it('a limit takes effect in the middle of a pull', async () => {
    const registry = lab();
    const sections = (rate: string) => ({ upstream: { 'max-download': rate } });
    await using node = await WeirNode.start({ sections: sections('1MiB/s') });
    const began = performance.now();
    const pulling = pullThrough(node, `${registry.host}/app:c`);
    await eventually(async () =>
      assert.ok((await node.metrics()).sum('weir_upstream_bytes_total') > 2 * MIB),
    );
    await node.configure({ sections: sections('none') });
    await pulling;
    const taken = (performance.now() - began) / SECOND;
    assert.ok(taken > 1.2 && taken < 15, `${taken} s; 24 s at the first rate`);
  });

  it('members share the limit of the cluster', async () => {
    const registry = lab();
    const rate = 9 * MIB;
    await using cluster = await WeirCluster.start(3, {
      registries: [registry.host],
      node: () => ({ settings: { 'upstream.max-cluster-download': '9MiB/s' } }),
    });
    const taken = await seconds(() =>
      Promise.all(cluster.nodes.map((node) => pullThrough(node, `${registry.host}/app:a`))),
    );
    const bytes = await cluster.metric('weir_upstream_bytes_total');
    assert.ok(bytes >= LAYER && bytes / taken < rate * SLACK, `${bytes / MIB} MiB in ${taken} s`);
  });

  it('bytes between zones are limited, and those within one are not', async () => {
    const registry = lab();
    const rate = 4 * MIB;
    await using cluster = await WeirCluster.start(3, {
      registries: [registry.host],
      node: (index) => ({
        settings: { zone: index === 2 ? 'far' : 'near', 'transfer.max-cross-zone': '4MiB/s' },
      }),
    });
    const [first, near, far] = [0, 1, 2].map((index) => cluster.node(index));
    assert.ok(first !== undefined && near !== undefined && far !== undefined);
    const image = `${registry.host}/app:d`;
    await pullThrough(first, image);
    const within = await seconds(() => pullThrough(near, image));
    const across = await seconds(() => pullThrough(far, image));
    const bytes = (await far.metrics()).sum('weir_peer_bytes_total', { direction: 'in', zone: 'other' });
    assert.ok(bytes > 4 * MIB && bytes / across < rate * SLACK, `${bytes / MIB} MiB in ${across} s`);
    assert.ok(within < LAYER / rate, `${within} s within the zone`);
  });
});
