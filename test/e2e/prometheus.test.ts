/** A real Prometheus scrapes real nodes: the dashboard's panels and the alerts are asked of what they export. */
import assert from 'node:assert/strict';
import { KIB, MIB, MINUTE } from '../../src/util/clock.ts';
import { eventually } from '../support/eventually.ts';
import { shared } from '../support/fixture.ts';
import { buildImage } from '../support/images.ts';
import { ALERTS_FILE, readAlerts, readDashboard } from '../support/monitoring.ts';
import { Prometheus } from '../support/prometheus.ts';
import { push } from '../support/push.ts';
import { Registry } from '../support/registry.ts';
import { requires } from '../support/requires.ts';
import { pullThrough, WeirCluster } from '../support/weir-cluster.ts';

const NODES = [
  { name: 'one', zone: 'north' },
  { name: 'two', zone: 'north' },
  { name: 'three', zone: 'south' },
];
const SMALL_IMAGES = 8;
/** Milliseconds until Prometheus has seen something: it scrapes each second, and shares the machine. */
const SEEN_WITHIN = MINUTE;
/** Counters that have no sample before their first event, which no sound pull brings. */
const WITHOUT_DATA = [
  'status="404"',
  'weir_mirror_cut_total',
  'weir_upstream_errors_total',
  'weir_upstream_retries_total',
  'weir_preheat_images_total',
];

/** Panels that show more than zeros after pulls of one image on three nodes. */
const RISEN = [
  'Pulls by result',
  'Requests, by route and status',
  'Speed of blobs',
  'Handed to runtimes, by source',
  'Where bytes come from',
  'From registries',
  'Requests to registries for chunks, by reason',
  'Stored',
  'Hit ratio',
  'Requests to registries',
  'Answers to peers',
  'Members known, by zone',
  'CPU',
  'Memory',
];

/** The expression as Grafana would send it, with these choices. */
function filled(expr: string, { cluster = '.*', zone = '.*', node = '.*' } = {}): string {
  return expr
    .replaceAll('$cluster', cluster)
    .replaceAll('$zone', zone)
    .replaceAll('$node', node)
    .replaceAll('$__rate_interval', '2m')
    .replaceAll('$__range', '5m');
}

requires('docker-registry', 'prometheus')('Prometheus', () => {
  const lab = shared(async (stack) => {
    const registry = stack.use(await Registry.start());
    const small = await Promise.all(
      Array.from({ length: SMALL_IMAGES }, (_, i) => buildImage({ seed: `small ${i}`, layers: [10 * KIB] })),
    );
    const image = await buildImage({ seed: 'prometheus', layers: [6 * MIB, 9 * MIB] });
    for (const [i, each] of small.entries()) await push(registry.url, 'seen/small', `v${i}`, each);
    await push(registry.url, 'seen/app', 'v1', image);
    const cluster = stack.use(
      await WeirCluster.start(NODES.length, {
        registries: [registry.host],
        node: (index) => {
          const { name, zone } = NODES[index] ?? { name: '', zone: '' };
          return { env: { WEIR_NODE_NAME: name, WEIR_NODE_ZONE: zone } };
        },
      }),
    );
    const targets = cluster.nodes.map(({ adminUrl }) => new URL(adminUrl).host);
    const prometheus = stack.use(await Prometheus.start({ targets, rules: ALERTS_FILE }));
    const { panels } = await readDashboard();
    const exprs = panels.flatMap(({ title, targets: asked = [] }) =>
      asked.map(({ expr }) => ({ title, expr })),
    );

    // Prometheus is to see the counters rise, and those of a registry begin with the first request of a node to it: whichever
    // node fetches the image has most likely fetched a small one before.
    const sees = (expr: string, wanted: number): Promise<void> =>
      eventually(async () => assert.equal(await prometheus.value(expr), wanted, expr), SEEN_WITHIN);
    const pulled = 'sum(weir_pulls_total{result="ok"})';
    const smallBlobs = small.reduce((sum, { blobs }) => sum + blobs.length, 0);
    for (const i of small.keys()) await pullThrough(cluster.node(0), `${registry.host}/seen/small:v${i}`);
    await sees('sum(up)', NODES.length);
    await sees(pulled, smallBlobs);
    for (const node of [...cluster.nodes, cluster.node(0)]) {
      await pullThrough(node, `${registry.host}/seen/app:v1`);
    }
    await sees(pulled, smallBlobs + NODES.length * image.blobs.length);
    return { cluster, prometheus, exprs, image };
  });

  it('evaluates each panel, and has data for it after a pull', async () => {
    const { prometheus, exprs } = lab();
    assert.ok(exprs.length >= 40);
    for (const { title, expr } of exprs) {
      await eventually(async () => {
        const samples = await prometheus.query(filled(expr));
        if (WITHOUT_DATA.some((text) => expr.includes(text))) return;
        // A percentile of nothing is NaN: Grafana shows a gap.
        assert.ok(
          samples.some(({ value }) => !Number.isNaN(value)),
          `${title}: no data: ${expr}`,
        );
      }, SEEN_WITHIN);
    }
  });

  it('shows more than zeros of what the pulls moved', async () => {
    const { prometheus, exprs } = lab();
    for (const title of RISEN) {
      const own = exprs.filter((each) => each.title === title);
      await eventually(async () => {
        const samples = await Promise.all(own.map(({ expr }) => prometheus.query(filled(expr))));
        assert.ok(
          samples.flat().some(({ value }) => value > 0),
          title,
        );
      }, SEEN_WITHIN);
    }
  });

  it('tells by the dashboard how much did not come from the registry', async () => {
    const { prometheus, exprs, image } = lab();
    const bytes = image.blobs.reduce((sum, { size }) => sum + size, 0);
    const of = async (title: string): Promise<number> => {
      const found = exprs.find((each) => each.title === title);
      return prometheus.value(filled(found?.expr ?? ''));
    };
    await eventually(async () => {
      // Four pulls, of which one came from the registry; one of them was a second one on the same node.
      const saved = await of('Bytes saved');
      assert.ok(saved > 2 * bytes && saved < 6 * bytes, `${saved} saved of an image of ${bytes} bytes`);
      const part = await of('Not from registries');
      assert.ok(part > 0.5 && part < 1, `${part} did not come from the registry`);
      const hits = await of('Hit ratio of blobs');
      assert.ok(hits > 0.1 && hits < 0.6, `${hits} of the blobs were there`);
      assert.equal(await of('Pulls that failed'), 0);
    }, SEEN_WITHIN);
  });

  it('can be asked by zone and by node', async () => {
    const { prometheus, exprs } = lab();
    for (const { title, expr } of exprs) {
      // A choice of zone or node leaves out others, and breaks no expression.
      await prometheus.query(filled(expr, { zone: 'north', node: 'one|three' })).catch((error: unknown) => {
        throw new Error(title, { cause: error });
      });
    }
    const nodes = exprs.find(({ title }) => title === 'Nodes');
    const count = (choice: Parameters<typeof filled>[1]): Promise<number> =>
      prometheus.value(filled(nodes?.expr ?? '', choice));
    assert.equal(await count({ zone: 'north' }), 2);
    assert.equal(await count({ zone: 'south', node: 'three' }), 1);
    assert.deepEqual(await prometheus.query(filled(nodes?.expr ?? '', { cluster: 'another' })), []);
    const { templating } = await readDashboard();
    for (const [name, wanted] of [
      ['cluster', []],
      ['zone', ['north', 'south']],
      ['node', ['one', 'three', 'two']],
    ] as const) {
      const { definition = '' } = templating.list.find((each) => each.name === name) ?? {};
      const [, match = '', label = ''] = /^label_values\((.*), (\w+)\)$/.exec(definition) ?? [];
      assert.deepEqual(await prometheus.labelValues(label, filled(match)), wanted, name);
    }
  });

  it('evaluates each alert, and finds none of a sound cluster', async () => {
    const { prometheus } = lab();
    const names = (await readAlerts()).map(({ alert }) => alert).sort();
    await eventually(async () => {
      const rules = await prometheus.rules();
      assert.deepEqual(rules.map(({ name }) => name).sort(), names);
      for (const { name, health, lastError, alerts } of rules) {
        assert.equal(health, 'ok', `${name}: ${lastError}`);
        assert.deepEqual(alerts, [], name);
      }
    }, SEEN_WITHIN);
  });

  // The last one: it ends a node.
  it('sees a node that is down, and names it', async () => {
    const { prometheus, cluster } = lab();
    const node = cluster.node(2);
    const instance = new URL(node.adminUrl).host;
    await node.terminate();
    await eventually(async () => {
      const rule = (await prometheus.rules()).find(({ name }) => name === 'WeirNodeDown');
      const [alert, ...others] = rule?.alerts ?? [];
      assert.deepEqual([alert?.state, alert?.labels['instance'], others], ['pending', instance, []]);
      assert.equal(alert?.annotations['summary'], `A node of Weir is down: ${instance}`);
      assert.match(alert.annotations['description'] ?? '', new RegExp(`^${instance} has not answered`));
    }, SEEN_WITHIN);
  });
});
