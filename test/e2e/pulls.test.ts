/** Of each pull the log, /v1/pulls and `weir pulls` tell afterwards where its bytes came from, and how it ended. */
import assert from 'node:assert/strict';
import type { BlobPullReport, PullReport, PullsReport } from '../../src/status/pull-report.ts';
import { KIB, MIB } from '../../src/util/clock.ts';
import { eventually } from '../support/eventually.ts';
import { FaultProxy } from '../support/fault-proxy.ts';
import { shared } from '../support/fixture.ts';
import { buildImage, type TestImage } from '../support/images.ts';
import { run, runOk } from '../support/program.ts';
import { push } from '../support/push.ts';
import { Registry } from '../support/registry.ts';
import { requires } from '../support/requires.ts';
import { pullThrough, WeirCluster } from '../support/weir-cluster.ts';
import { WEIR, WeirNode } from '../support/weir.ts';

/** Lines of the log with this message. */
function linesOf(node: WeirNode, message: string): readonly Record<string, unknown>[] {
  return node.log
    .split('\n')
    .filter((line) => line.includes(`"msg":"${message}"`))
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

async function pullsOf(node: WeirNode, query = ''): Promise<readonly PullReport[]> {
  const answer = await fetch(`${node.adminUrl}/v1/pulls${query}`);
  assert.equal(answer.status, 200);
  return ((await answer.json()) as PullsReport).pulls;
}

/** The last pull, once it is over. */
function lastPull(node: WeirNode): Promise<PullReport> {
  return eventually(async () => {
    const [pull] = await pullsOf(node);
    assert.ok(pull);
    assert.notEqual(pull.state, 'pulling');
    return pull;
  });
}

function blobsBytes({ blobs }: TestImage): number {
  return blobs.reduce((sum, { size }) => sum + size, 0);
}

function sumOf(blobs: readonly BlobPullReport[], source: keyof PullReport['sources']): number {
  return blobs.reduce((sum, { sources }) => sum + sources[source], 0);
}

requires('docker-registry')('pulls afterwards', () => {
  const lab = shared(async (stack) => {
    const registry = stack.use(await Registry.start());
    const image = await buildImage({ seed: 'pulls', layers: [3 * MIB, 200 * KIB] });
    await push(registry.url, 'team/app', 'v1', image);
    return { registry, image };
  });

  it('tell what came from the registry, and on the next node from its peer', async () => {
    const { registry, image } = lab();
    await using cluster = await WeirCluster.start(2, { registries: [registry.host] });
    const name = `${registry.host}/team/app:v1`;
    const [a, b] = [cluster.node(0), cluster.node(1)];
    await pullThrough(a, name);
    const first = await lastPull(a);
    assert.deepEqual([first.image, first.state, first.client], [name, 'complete', 'weir-client']);
    assert.equal(first.digest, image.digest);
    assert.deepEqual(
      new Set(first.blobs.map(({ digest }) => digest)),
      new Set(image.blobs.map(({ digest }) => digest)),
    );
    assert.equal(sumOf(first.blobs, 'registry'), blobsBytes(image));
    assert.equal(first.bytes, blobsBytes(image) + image.size); // the other node may be the owner of the manifest

    await pullThrough(b, name);
    const second = await lastPull(b);
    assert.equal(sumOf(second.blobs, 'peers'), blobsBytes(image));
    assert.equal(second.bytes, blobsBytes(image) + image.size);
    const [peer] = second.peers;
    assert.equal(peer?.peer, (await a.status()).peer);
    assert.equal(peer?.bytes, blobsBytes(image));

    await pullThrough(b, name);
    await eventually(async () => assert.equal((await pullsOf(b)).length, 2));
    const third = await lastPull(b);
    assert.deepEqual(third.sources, { store: blobsBytes(image) + image.size, peers: 0, registry: 0 });
    assert.deepEqual(
      (await b.status()).images.map(({ sources }) => sources),
      [third.sources, second.sources],
    );

    await eventually(() => {
      const [line] = linesOf(b, 'image served');
      assert.equal(line?.['image'], name);
      assert.equal(line?.['from_peers'], second.sources.peers);
      assert.equal(line?.['outcome'], 'complete');
    });
    const blobs = linesOf(b, 'blob served').slice(0, image.blobs.length);
    assert.deepEqual(
      new Set(blobs.map(({ digest, from_peers }) => `${String(digest)} ${String(from_peers)}`)),
      new Set(image.blobs.map(({ digest, size }) => `${digest} ${size}`)),
    );
    const metrics = await b.metrics();
    assert.equal(metrics.sum('weir_pull_bytes_total', { source: 'peers' }), second.sources.peers);
    assert.equal(metrics.sum('weir_pull_duration_seconds_count', { kind: 'image', outcome: 'complete' }), 2);

    const admin = ['--admin', new URL(b.adminUrl).host];
    const json = JSON.parse(await runOk(WEIR, ['pulls', '--json', ...admin])) as PullsReport;
    assert.deepEqual(json.pulls, await pullsOf(b));
    const shown = await runOk(WEIR, ['pulls', '--image', 'team/*:v1', '--limit', '1', ...admin]);
    assert.match(
      shown,
      /^ +OUTCOME .*\n.*team\/app:v1 {2}[\d:]+ {2}weir-client\n {2}image +complete .* 100 % +0 % +0 %/,
    );
    assert.equal(shown.match(/team\/app/g)?.length, 1);
    assert.equal(await runOk(WEIR, ['pulls', '--slow', '1h', ...admin]), 'no pull that is asked for\n');
    assert.match(
      await runOk(WEIR, ['status', ...admin]),
      /^images .*\n {2}.*team\/app:v1\n {4}[\d:]+ {2}▪+ /m,
    );
  });

  it('tell of a pull that failed, and of one that was handed over', async () => {
    const { registry, image } = lab();
    const [, layer] = image.blobs;
    assert.ok(layer);
    const fault = { kind: 'answer', status: 500 } as const;
    await using proxy = await FaultProxy.start(registry.url, [
      { path: new RegExp(`/blobs/${layer.digest}`), fault },
    ]);
    await using node = await WeirNode.start({ settings: { 'cluster.mode': 'off' } });
    const name = `${proxy.host}/team/app:v1`;
    await assert.rejects(pullThrough(node, name, { concurrency: 1 }));
    const last = await lastPull(node);
    const failed = last.blobs.find(({ digest }) => digest === layer.digest);
    assert.ok(failed);
    assert.equal(failed.state, failed.requests === 1 ? 'failed' : 'handed_over');
    const told = linesOf(node, 'blob served').find(({ digest }) => digest === layer.digest);
    assert.deepEqual([told?.['outcome'], told?.['code']], ['failed', 'upstream_status']);
    await node.terminate(); // ends the pull
    const [line] = linesOf(node, 'image served');
    assert.equal(line?.['image'], name);
    assert.equal(line?.['outcome'], failed.state);
  });

  it('tell of blobs that passed through', async () => {
    const { registry } = lab();
    const large = await buildImage({ seed: 'large', layers: [24 * MIB] });
    await push(registry.url, 'team/large', 'v1', large);
    await using node = await WeirNode.start({
      // A disk of which so much is never free takes nothing.
      settings: { 'cluster.mode': 'off', 'store.shrink-below': '90%', 'store.stop-below': '90%' },
    });
    await pullThrough(node, `${registry.host}/team/large:v1`);
    const pull = await lastPull(node);
    assert.equal(pull.state, 'passed_through');
    const layer = pull.blobs.find(({ digest }) => digest === large.blobs[1]?.digest);
    assert.equal(layer?.state, 'passed_through');
    assert.deepEqual(layer?.sources, { store: 0, peers: 0, registry: large.blobs[1]?.size });
  });

  it('are told by weir pull, with the words of the mirror if they fail', async () => {
    const { registry, image } = lab();
    const fault = { kind: 'answer', status: 500 } as const;
    await using proxy = await FaultProxy.start(registry.url, [{ path: /\/manifests\/broken/, fault }]);
    await using node = await WeirNode.start({ settings: { 'cluster.mode': 'off' } });
    const pull = (tag: string, ...more: readonly string[]): ReturnType<typeof run> => {
      const at = ['--mirror', node.url, '--admin', new URL(node.adminUrl).host];
      return run(WEIR, ['pull', `${proxy.host}/team/app:${tag}`, ...at, ...more]);
    };
    const size = ((blobsBytes(image) + image.size) / MIB).toFixed(1);
    assert.match((await pull('v1')).stdout, new RegExp(`\\n${size} MiB from the registry\\n$`));
    assert.match((await pull('v1')).stdout, new RegExp(`\\n${size} MiB from the store\\n$`));
    const json = JSON.parse((await pull('v1', '--json')).stdout) as { readonly sources?: unknown };
    assert.deepEqual(json.sources, { store: blobsBytes(image) + image.size, peers: 0, registry: 0 });
    const failed = await pull('broken');
    assert.equal(failed.code, 1);
    assert.match(
      failed.stderr,
      /answered with status 404 for manifests\/broken .*: .*status 500.* \(upstream_status\)/,
    );
  });

  it('say what is wrong with a question', async () => {
    await using node = await WeirNode.start({ settings: { 'cluster.mode': 'off' } });
    for (const query of ['slow=x', 'limit=0', 'image=', 'what=1', 'slow=1&slow=2']) {
      assert.equal((await fetch(`${node.adminUrl}/v1/pulls?${query}`)).status, 400, query);
    }
    const { code, stderr } = await run(WEIR, ['pulls', '--slow', '3']);
    assert.equal(code, 2);
    assert.match(stderr, /--slow: "3" has no unit/);
  });
});
