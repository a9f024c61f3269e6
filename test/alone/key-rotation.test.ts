/** The key of a cluster is changed node by node while images are pulled: no pull fails, and it stays one cluster. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { MIB, MINUTE, SECOND } from '../../src/util/clock.ts';
import { eventually } from '../support/eventually.ts';
import { buildImage } from '../support/images.ts';
import { push } from '../support/push.ts';
import { Registry } from '../support/registry.ts';
import { requires } from '../support/requires.ts';
import { TempDir } from '../support/temp.ts';
import { knows, pullThrough, WeirCluster } from '../support/weir-cluster.ts';

const NODES = Number(process.env['NODES'] ?? 12);
/** Images that are pulled meanwhile, each by all nodes. */
const IMAGES = 24;
const LAYER = 3 * MIB;
const [OLD, NEW] = ['the old key of a cluster under test', 'the new key, which comes in its place'];
/** Each with what is then in the key file. */
const STEPS = [
  ['the new key is accepted', `${OLD}\n${NEW}\n`],
  ['the new key is preferred', `${NEW}\n${OLD}\n`],
  ['the old key is gone', `${NEW}\n`],
] as const;

requires('docker-registry')('change of the cluster key', function () {
  this.timeout(10 * MINUTE);

  it('needs no restart, fails no pull, and never makes two clusters', async () => {
    await using dir = await TempDir.create('keys');
    await using registry = await Registry.start();
    for (let i = 0; i < IMAGES; i++) {
      await push(registry.url, 'app', `v${i}`, await buildImage({ seed: `keys-${i}`, layers: [LAYER] }));
    }
    const fileOf = (index: number): string => dir.join(`key-${index}`);
    const write = (index: number, text: string): Promise<void> =>
      writeFile(fileOf(index), text, { mode: 0o600 });
    await Promise.all(Array.from({ length: NODES + 1 }, (_, index) => write(index, OLD)));
    await using cluster = await WeirCluster.start(NODES, {
      registries: [registry.host],
      node: (index) => ({ settings: { 'cluster.key-file': fileOf(index) } }),
    });

    const over = new AbortController();
    let pulls = 0;
    const load = async (): Promise<void> => {
      for (; !over.signal.aborted; await delay(SECOND / 4)) {
        const image = `${registry.host}/app:v${pulls % IMAGES}`;
        await Promise.all(cluster.nodes.map((node) => pullThrough(node, image)));
        pulls++;
      }
    };
    let fewest = NODES;
    const watch = async (): Promise<void> => {
      while (!over.signal.aborted) {
        const reports = await Promise.all(cluster.nodes.map((node) => node.status()));
        fewest = Math.min(fewest, ...reports.map((report) => report.cluster.members));
        await delay(SECOND / 4);
      }
    };
    const connected = async (): Promise<void> => {
      for (const node of cluster.nodes) assert.ok((await node.status()).cluster.connections > 0);
    };
    const rotate = async (): Promise<void> => {
      for (const [title, text] of STEPS) {
        for (const [index, node] of cluster.nodes.entries()) {
          const changes = (): number => node.log.split('cluster keys changed').length;
          const before = changes();
          await write(index, text);
          node.signal('SIGHUP');
          await eventually(() => assert.equal(changes(), before + 1, `${title}: node ${index}`));
        }
        const known = pulls;
        await eventually(() => assert.ok(pulls >= known + 2, 'pulls go on'), MINUTE);
      }
      const closed = (log: string): number => log.split('no connection has a removed cluster key').length - 1;
      const allClosed = (): void => {
        for (const node of cluster.nodes) assert.equal(closed(node.log), STEPS.length);
      };
      await eventually(allClosed, MINUTE);
      assert.ok(cluster.nodes.some((node) => /"closed":[1-9]/.test(node.log)));
      await eventually(connected, MINUTE);
      over.abort();
    };
    await Promise.all([load(), watch(), rotate()]).finally(() => over.abort());

    assert.ok(pulls >= 6, `${pulls} images were pulled meanwhile`);
    assert.equal(fewest, NODES, 'all nodes have known all members at any time');
    const fetched = await cluster.metric('weir_upstream_bytes_total');
    assert.ok(
      fetched < 1.25 * Math.min(pulls, IMAGES) * (LAYER + MIB / 8),
      `${fetched / MIB} MiB for ${pulls} images; ${await cluster.account()}`,
    );
    await write(NODES, NEW);
    const [late] = await cluster.add();
    assert.ok(late !== undefined);
    await knows(late, NODES + 1);
  });
});
