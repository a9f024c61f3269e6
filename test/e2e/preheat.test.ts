/** `weir preheat`: real nodes and a real registry. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { KIB, MIB, SECOND } from '../../src/util/clock.ts';
import type { Digest } from '../../src/oci/digest.ts';
import type { PreheatReport, PreheatsReport } from '../../src/status/preheat-report.ts';
import { DataFolder } from '../../src/store/data-folder.ts';
import { eventually } from '../support/eventually.ts';
import { shared } from '../support/fixture.ts';
import { buildImage, type TestImage } from '../support/images.ts';
import { run, type Result } from '../support/program.ts';
import { push } from '../support/push.ts';
import { Registry } from '../support/registry.ts';
import { requires } from '../support/requires.ts';
import { TempDir } from '../support/temp.ts';
import { WEIR, type WeirNode } from '../support/weir.ts';
import { pullThrough, WeirCluster } from '../support/weir-cluster.ts';

const NODES = 4;
const TOKEN = 'f00dcafe0123456789abcdef-a-token-of-the-tests';
/** Of one image, by which the registry may be asked more than once: manifests, hedged chunks. */
const SLACK = 1.5;

requires('docker-registry')('weir preheat', function () {
  this.timeout(120 * SECOND);

  const lab = shared(async (stack) => {
    const dir = stack.use(await TempDir.create('preheat'));
    const [tokenFile, otherFile] = [dir.join('token'), dir.join('other')];
    await writeFile(tokenFile, `${TOKEN}\n`, { mode: 0o600 });
    await writeFile(otherFile, `${TOKEN}-not\n`, { mode: 0o600 });
    const registry = stack.use(await Registry.start());
    const cluster = stack.use(
      await WeirCluster.start(NODES, {
        registries: [registry.host],
        node: (index) => ({
          settings: {
            'preheat.token-file': tokenFile,
            'node.name': `node-${index}`,
            zone: index === 3 ? 'far' : 'near',
          },
        }),
      }),
    );
    return { registry, cluster, tokenFile, otherFile };
  });

  /** An image of its own for each case. */
  const pushed = async (name: string): Promise<TestImage> => {
    const image = await buildImage({ seed: name, layers: [12 * MIB, 300 * KIB, 5 * KIB] });
    await push(lab().registry.url, `team/${name}`, 'v1', image);
    return image;
  };
  const nameOf = (name: string): string => `${lab().registry.host}/team/${name}:v1`;

  const preheat = (args: readonly string[], index = 0): Promise<Result> => {
    const { cluster, tokenFile } = lab();
    const token = args.includes('--token-file') ? [] : ['--token-file', tokenFile];
    const admin = new URL(cluster.node(index).adminUrl).host;
    const env = { WEIR_CONFIG: '/dev/null' };
    return run(WEIR, ['preheat', '--admin', admin, ...token, ...args], { env });
  };
  const reportOf = ({ stdout }: Result): PreheatReport => JSON.parse(stdout) as PreheatReport;

  /** Indices of the nodes that have all of it in their store. */
  const holders = async (image: TestImage): Promise<readonly number[]> => {
    const digests = [image.digest, ...image.blobs.map(({ digest }) => digest)];
    const has = async ({ dataFolder }: WeirNode, digest: Digest): Promise<boolean> =>
      existsSync(new DataFolder(dataFolder).blob(digest));
    const all = await Promise.all(
      lab().cluster.nodes.map(async (node) => Promise.all(digests.map((digest) => has(node, digest)))),
    );
    return all.flatMap((each, index) => (each.every(Boolean) ? [index] : []));
  };

  it('fills the store of each node from one image of the registry, which may then be gone', async () => {
    const { registry, cluster } = lab();
    const image = await pushed('all');
    registry.accessLog.clear();
    const result = await preheat([nameOf('all'), '--wait']);
    assert.equal(result.code, 0, result.stdout + result.stderr);
    assert.match(result.stdout, /preheat [0-9a-f]{32} done: 4 of 4 nodes done/);
    assert.deepEqual(await holders(image), [0, 1, 2, 3]);
    await registry.accessLog.settled();
    const size = image.blobs.reduce((sum, blob) => sum + blob.size, 0);
    const sent = registry.accessLog.bytes('/team/all/blobs/');
    assert.ok(
      sent >= size && sent < size * SLACK,
      `${sent} bytes of an image of ${size}: ${await cluster.account()}`,
    );

    const again = await preheat([nameOf('all'), '--wait', '--json'], 1);
    const states = reportOf(again).members.map(({ images }) => images[0]?.state);
    assert.deepEqual([again.code, states], [0, ['present', 'present', 'present', 'present']]);

    await registry.stop();
    try {
      for (const node of cluster.nodes) {
        const pulled = await pullThrough(node, nameOf('all'));
        assert.ok(
          pulled.blobs.every(({ source }) => source === 'store'),
          JSON.stringify(pulled.blobs),
        );
      }
    } finally {
      await registry.restart();
    }
  });

  it('takes as many nodes as are wanted, of the zone that is wanted', async () => {
    const image = await pushed('two');
    const two = await preheat([nameOf('two'), '--nodes', '2', '--wait', '--json']);
    assert.equal(two.code, 0, two.stderr);
    const chosen = reportOf(two).members.map(({ name }) => name);
    assert.equal(chosen.length, 2);
    const names = (await holders(image)).map((index) => `node-${index}`);
    assert.deepEqual(names, chosen.toSorted());

    const far = await preheat([nameOf('two'), '--zone', 'far', '--wait', '--json']);
    assert.deepEqual(
      reportOf(far).members.map(({ name, zone, state }) => [name, zone, state]),
      [['node-3', 'far', 'done']],
    );
    const nowhere = await preheat([nameOf('two'), '--zone', 'moon']);
    assert.equal(nowhere.code, 2);
    assert.match(nowhere.stderr, /no live member is in "moon"/);
  });

  it('tells why an image cannot be had, of each node, and ends with 7', async () => {
    const image = await pushed('here');
    const result = await preheat([nameOf('here'), nameOf('gone'), '--wait', '--json']);
    assert.equal(result.code, 7, result.stderr);
    const { state, failed, members } = reportOf(result);
    assert.deepEqual([state, failed], ['partial', NODES]);
    for (const { images } of members) {
      assert.equal(images[0]?.state, 'done');
      assert.equal(images[1]?.state, 'failed');
      assert.match(images[1]?.reason ?? '', /^manifest_unknown: /);
    }
    assert.deepEqual(await holders(image), [0, 1, 2, 3]);

    const other = await preheat([nameOf('here'), '--platform', 'windows/arm64', '--wait', '--json']);
    // Not an index: it is pulled as it is.
    assert.equal(other.code, 0, other.stdout);
  });

  it('waits for the time that is given', async () => {
    const image = await pushed('later');
    const { cluster } = lab();
    const at = new Date(Date.now() + 6 * SECOND);
    const result = await preheat([nameOf('later'), '--at', at.toISOString(), '--json']);
    assert.equal(result.code, 0, result.stderr);
    const { id, state } = reportOf(result);
    assert.equal(state, 'scheduled');
    const url = new URL(`/v1/preheats/${id}`, cluster.node(0).adminUrl);
    const ask = async (): Promise<PreheatReport> => (await (await fetch(url)).json()) as PreheatReport;
    await eventually(async () => {
      const report = await ask();
      assert.ok(report.members.every((member) => member.state === 'accepted'));
    });
    assert.ok(Date.now() < at.getTime(), 'all have taken it before its start');
    assert.deepEqual(await holders(image), []);
    await eventually(async () => assert.equal((await ask()).state, 'done'), 30 * SECOND);
    assert.ok(Date.now() >= at.getTime());
    assert.deepEqual(await holders(image), [0, 1, 2, 3]);
  });

  it('goes on at a node that was restarted meanwhile', async () => {
    const image = await pushed('restarted');
    const { cluster } = lab();
    const waiting = preheat([nameOf('restarted'), '--at', '8s', '--wait', '--json']);
    const url = new URL('/v1/preheats', cluster.node(0).adminUrl);
    await eventually(async () => {
      const { preheats } = (await (await fetch(url)).json()) as PreheatsReport;
      assert.ok(
        preheats.some(({ images, state }) => state === 'scheduled' && images[0]?.includes('restarted')),
      );
    });
    await cluster.node(2).logged(/preheat order taken.*restarted|restarted.*preheat order taken/);
    await cluster.node(2).restart();
    const result = await waiting;
    assert.equal(result.code, 0, result.stdout + result.stderr);
    assert.deepEqual(await holders(image), [0, 1, 2, 3]);
  });

  it('is for those who have the token', async () => {
    const { cluster, otherFile } = lab();
    const wrong = await preheat([nameOf('all'), '--token-file', otherFile]);
    assert.equal(wrong.code, 1);
    assert.match(wrong.stderr, /not the token of preheat\.token-file/);
    const url = new URL('/v1/preheats', cluster.node(0).adminUrl);
    const body = JSON.stringify({ images: [nameOf('all')] });
    const json = { 'content-type': 'application/json' };
    const post = (headers: Record<string, string>): Promise<Response> =>
      fetch(url, { method: 'POST', body, headers });
    const authorization = `Bearer ${TOKEN}`;
    assert.equal((await post(json)).status, 401);
    assert.equal((await post({ ...json, authorization: `${authorization}x` })).status, 401);
    assert.equal((await post({ ...json, authorization, origin: 'http://evil.example' })).status, 403);
    assert.equal((await post({ authorization, 'content-type': 'text/plain' })).status, 415);
    const before = (await (await fetch(url)).json()) as PreheatsReport;
    assert.ok(before.preheats.length > 0);
    assert.ok(!cluster.nodes.some(({ log }) => log.includes(TOKEN)));
  });

  it('is off without the setting, for orders and for members', async () => {
    const { cluster, registry } = lab();
    const settings = { 'preheat.token-file': '', 'node.name': 'node-off' };
    const [node] = await cluster.add(1, { settings });
    assert.ok(node);
    try {
      await cluster.settled();
      await pushed('off');
      const result = await preheat([nameOf('off')], NODES);
      assert.equal(result.code, 1);
      assert.match(result.stderr, /preheat is off: set preheat\.token-file/);
      const response = await fetch(new URL('/v1/preheats', node.adminUrl), { method: 'POST', body: '{}' });
      assert.equal(response.status, 403);

      const ordered = await preheat([nameOf('off'), '--wait', '--json']);
      assert.equal(ordered.code, 7, ordered.stderr);
      const off = reportOf(ordered).members.find(({ name }) => name === 'node-off');
      assert.deepEqual(
        [off?.state, off?.reason],
        ['failed', 'preheat is off on that node: it has no preheat.token-file'],
      );
      assert.equal(reportOf(ordered).done, NODES);
      assert.ok(registry.host);
    } finally {
      cluster.nodes.splice(NODES);
      await node[Symbol.asyncDispose]();
    }
  });
});
