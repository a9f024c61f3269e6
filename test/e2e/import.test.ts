/** A cluster without a registry: an archive is imported at one node, and real runtimes pull it by its tag from others. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { KIB, MIB } from '../../src/util/clock.ts';
import { IMPORT_TOKEN } from '../../src/status/import-report.ts';
import { assertCopied, assertFails, assertIntact, assertOk } from '../support/assertions.ts';
import { BlackHole } from '../support/black-hole.ts';
import { request } from '../support/client.ts';
import { Containerd } from '../support/containerd.ts';
import { Containers } from '../support/containers.ts';
import { Docker } from '../support/docker.ts';
import { shared } from '../support/fixture.ts';
import { buildImage, buildRunnableImage, type TestImage } from '../support/images.ts';
import { run, type Result } from '../support/program.ts';
import { push, writeLayout } from '../support/push.ts';
import { Registry } from '../support/registry.ts';
import { requires } from '../support/requires.ts';
import { TempDir } from '../support/temp.ts';
import { WEIR, type WeirNode } from '../support/weir.ts';
import { pullThrough, WeirCluster } from '../support/weir-cluster.ts';

const LAYERS = [100 * KIB, 12 * MIB];
const APP = 'registry.test/team/app:v1';
const HELLO = 'docker.io/library/hello:v1';
const GREETING = 'hello from weir';
/** The node with access.trust-imported: no. */
const CLOSED = 3;

const weir = (...args: readonly string[]): Promise<Result> => run(WEIR, args);

/** `weir import` at this node. */
function importAt(node: WeirNode, ...args: readonly string[]): Promise<Result> {
  const token = join(node.dataFolder, IMPORT_TOKEN);
  return weir('import', '--admin', new URL(node.adminUrl).host, '--token-file', token, ...args);
}

requires(
  'root',
  'containerd',
  'ctr',
  'runc',
  'busybox',
  'dockerd',
  'docker',
  'podman',
  'skopeo',
)('import: a cluster without a registry', () => {
  const lab = shared(async (stack) => {
    // A registry that never answers: what an address of a closed network does.
    const nowhere = stack.use(await BlackHole.start());
    const registries = Object.fromEntries(
      ['registry.test', 'docker.io'].map((name) => [name, { endpoint: `http://${nowhere.host}` }]),
    );
    const cluster = stack.use(
      await WeirCluster.start(4, {
        node: (index) => ({
          registries,
          settings: {
            'access.trust-imported': index === CLOSED ? 'no' : 'yes',
            // The registry is waited for in vain only where the rule is off.
            'mirror.first-byte-timeout': index === CLOSED ? '3s' : '10s',
            'upstream.header-timeout': '1s',
            'upstream.retries': '0',
          },
        }),
      }),
    );
    const dir = stack.use(await TempDir.create('archives'));
    const containers = stack.use(
      await Containers.create({
        registry: 'registry.test',
        location: nowhere.host,
        mirror: cluster.node(2).host,
      }),
    );
    const image = await buildRunnableImage({ seed: 'import', layers: LAYERS });
    await writeLayout(dir.join('layout'), 'v1', image);
    const copy = async (target: string): Promise<void> => {
      const source = `oci:${dir.join('layout')}:v1`;
      assertOk(`skopeo copy to ${target}`, await containers.skopeo('copy', source, target));
    };
    return { nowhere, cluster, dir, containers, image, copy };
  });

  const inOrder = (image: TestImage): readonly string[] => [
    image.digest,
    ...image.blobs.map((b) => b.digest),
  ];

  it('containerd and podman pull an OCI archive of skopeo from other nodes, and run it', async () => {
    const { cluster, dir, containers, image, copy, nowhere } = lab();
    await copy(`oci-archive:${dir.join('app.tar')}:${APP}`);
    const imported = await importAt(cluster.node(0), dir.join('app.tar'));
    assertOk('weir import', imported);
    assert.match(imported.stdout, new RegExp(`^${APP} ${image.digest} `));

    await using containerd = await Containerd.start();
    const server = `http://${nowhere.host}`;
    await containerd.writeHosts({ registry: 'registry.test', server, mirrors: [cluster.node(1).url] });
    await containerd.cri.pullOk(APP);
    await assertIntact(containerd, image);
    assert.equal((await containerd.runContainer(APP, '/bin/busybox', 'echo', 'hello')).trim(), 'hello');

    assertOk('podman pull', await containers.podmanPull(APP));
    const ran = await containers.podman('run', '--rm', '--network=host', APP);
    assertOk('podman run', ran);
    assert.equal(ran.stdout.trim(), GREETING);
    const copied = await containers.skopeoCopy(APP);
    assertOk('skopeo copy', copied.result);
    await assertCopied(copied.folder, image);
    assert.equal(await cluster.metric('weir_upstream_requests_total'), 0);
  });

  it('docker pulls an archive in the form of docker save from another node, and what it saves itself is imported', async () => {
    const { cluster, dir, containers, copy } = lab();
    await copy(`docker-archive:${dir.join('hello.tar')}:${HELLO}`);
    assertOk('weir import', await importAt(cluster.node(0), dir.join('hello.tar')));
    await using docker = await Docker.start({ registryMirrors: [cluster.node(1).url] });
    assertOk('docker pull', await docker.pull('hello:v1'));
    const ran = await docker.commandOk(['run', '--rm', '--network=host', 'hello:v1']);
    assert.equal(ran.trim(), GREETING);

    await docker.commandOk(['save', '--output', dir.join('saved.tar'), 'hello:v1']);
    const saved = await importAt(
      cluster.node(1),
      '--name',
      'registry.test/team/saved:v1',
      dir.join('saved.tar'),
    );
    assertOk('weir import of what docker saved', saved);
    const copied = await containers.skopeoCopy('registry.test/team/saved:v1');
    assertOk('skopeo copy', copied.result);
  });

  it('imports what podman saves, by stdin, and the folder of a layout', async () => {
    const { cluster, dir, containers, image, copy } = lab();
    await copy(`oci-archive:${dir.join('again.tar')}:${APP}`);
    assertOk('podman load', await containers.podman('load', '--input', dir.join('again.tar')));
    const name = 'registry.test/team/podman:v1';
    assertOk('podman tag', await containers.podman('tag', APP, name));
    const file = dir.join('podman.tar');
    assertOk('podman save', await containers.podman('save', '--output', file, name));
    const saved = await run('sh', ['-c', 'gzip -c "$0" | "$@"', file, WEIR, ...argsAt(cluster.node(1))]);
    assertOk('weir import -', saved);
    assert.match(saved.stdout, new RegExp(`^${name} `));
    const folder = await importAt(
      cluster.node(0),
      '--name',
      'registry.test/team/layout:v1',
      dir.join('layout'),
    );
    assertOk('weir import of a folder', folder);
    for (const tag of ['podman', 'layout']) {
      const copied = await containers.skopeoCopy(`registry.test/team/${tag}:v1`);
      assertOk(`skopeo copy of ${tag}`, copied.result);
      if (tag === 'layout') await assertCopied(copied.folder, image);
    }
  });

  it('exports an archive with the same digest, from a node that did not import the image', async () => {
    const { cluster, dir, containers, image } = lab();
    const file = dir.join('exported.tar');
    assertOk('weir export', await weir('export', '--mirror', cluster.node(2).url, '-o', file, APP));
    const inspected = await containers.skopeo('inspect', '--format', '{{.Digest}}', `oci-archive:${file}`);
    assertOk('skopeo inspect', inspected);
    assert.equal(inspected.stdout.trim(), image.digest);
    assertOk('weir import of it', await importAt(cluster.node(2), file));
    assertOk('weir import --remove', await importAt(cluster.node(2), '--remove', APP));
  });

  it('serves nothing where the rule is off, and takes nothing', async () => {
    const { cluster, dir, image } = lab();
    const closed = cluster.node(CLOSED);
    const refused = await importAt(closed, dir.join('app.tar'));
    assertFails('weir import', refused);
    assert.match(refused.stderr, /access\.trust-imported/);
    const paths = ['manifests/v1', ...inOrder(image).map((digest) => `blobs/${digest}`)];
    const urls = paths.map((path) => closed.urlOf('registry.test', `team/app/${path}`));
    // Nor is anything read in another repository, where the rule is on.
    for (const digest of inOrder(image))
      urls.push(cluster.node(0).urlOf('registry.test', `team/other/blobs/${digest}`));
    const answers = await Promise.all(urls.map((url) => request(url)));
    assert.deepEqual(
      answers.map(({ status }) => status),
      urls.map(() => 404),
    );
  });

  it('goes on after a restart of the importing node, and ends when the import is removed', async () => {
    const { cluster, dir } = lab();
    const [importer, other] = [cluster.node(1), cluster.node(2)];
    const name = 'registry.test/team/kept:v1';
    const tag = 'team/kept/manifests/v1';
    assertOk('weir import', await importAt(importer, '--name', name, dir.join('layout')));
    await importer.restart();
    await cluster.settled();
    for (const node of [importer, other])
      assertOk('weir pull', await weir('pull', '--mirror', node.url, name));
    assertOk('weir import --remove', await importAt(importer, '--remove', name));
    const status = async (node: WeirNode): Promise<number> =>
      (await request(node.urlOf('registry.test', tag), { method: 'HEAD' })).status;
    assert.equal(await status(importer), 404);
    const deadline = Date.now() + 30_000; // tags.ttl, and the wait for the registry
    while ((await status(other)) !== 404) assert.ok(Date.now() < deadline, 'the tag is still there');
  });
});

requires('docker-registry')('import: beside a registry', () => {
  it('goes before the registry at all nodes with the rule, also for callers that the registry has accepted', async () => {
    await using registry = await Registry.start();
    await using dir = await TempDir.create('beside');
    const [theirs, ours] = await Promise.all(
      ['theirs', 'ours'].map((seed) => buildImage({ seed, layers: [9 * MIB, 1000] })),
    );
    assert.ok(theirs !== undefined && ours !== undefined);
    await writeLayout(dir.path, 'v1', ours);
    for (const tag of ['v1', 'v2']) await push(registry.url, 'team/app', tag, theirs);
    await using cluster = await WeirCluster.start(3, {
      registries: [registry.host],
      node: (index) => ({
        settings: { 'access.trust-imported': index === 2 ? 'no' : 'yes', 'tags.ttl': '0s' },
      }),
    });
    const [importer, trusting, closed] = [0, 1, 2].map((index) => cluster.node(index));
    assert.ok(importer !== undefined && trusting !== undefined && closed !== undefined);
    const image = `${registry.host}/team/app`;
    for (const node of cluster.nodes)
      assert.equal((await pullThrough(node, `${image}:v2`)).digest, theirs.digest);

    assertOk('weir import', await importAt(importer, '--name', `${image}:v1`, dir.path));
    for (const node of [importer, trusting])
      assert.equal((await pullThrough(node, `${image}:v1`)).digest, ours.digest);
    assert.equal((await pullThrough(closed, `${image}:v1`)).digest, theirs.digest);
    assertFails('weir pull by digest', await weir('pull', '--mirror', closed.url, `${image}@${ours.digest}`));

    assertOk('weir import --remove', await importAt(importer, '--remove', `${image}:v1`));
    for (const node of [importer, trusting])
      assert.equal((await pullThrough(node, `${image}:v1`)).digest, theirs.digest);
  });
});

function argsAt(node: WeirNode): readonly string[] {
  const token = join(node.dataFolder, IMPORT_TOKEN);
  return ['import', '--admin', new URL(node.adminUrl).host, '--token-file', token, '-'];
}
