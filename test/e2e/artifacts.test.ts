/** Artifacts that are no images: charts, models, signatures. */
import assert from 'node:assert/strict';
import { mkdir, readFile } from 'node:fs/promises';
import { MIB } from '../../src/util/clock.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { MEDIA_TYPES } from '../../src/oci/manifest.ts';
import { assertNoBypass, assertSentOnce } from '../support/assertions.ts';
import { request } from '../support/client.ts';
import { Containerd } from '../support/containerd.ts';
import { DebianTree, inTree } from '../support/debian-tree.ts';
import { FaultProxy } from '../support/fault-proxy.ts';
import { buildArtifact, buildImage, buildIndex, descriptorOf, randomBytes } from '../support/images.ts';
import { PODMAN5, Podman5 } from '../support/podman5.ts';
import { describeResult, runOk } from '../support/program.ts';
import { push } from '../support/push.ts';
import { Registry } from '../support/registry.ts';
import { findProgram, requires } from '../support/requires.ts';
import { TempDir } from '../support/temp.ts';
import { WeirCluster } from '../support/weir-cluster.ts';
import { WeirNode } from '../support/weir.ts';

requires('docker-registry')('artifacts', () => {
  it('are pulled by tag and by digest, with an empty config, and by a second node from the first', async () => {
    await using registry = await Registry.start();
    await using cluster = await WeirCluster.start(2, { registries: [registry.host] });
    const model = buildArtifact(randomBytes('a model', 9 * MIB));
    await push(registry.url, 'models/small', 'v1', model);
    for (const node of cluster.nodes) {
      const at = (path: string): string => node.urlOf(registry.host, `models/small/${path}`);
      for (const reference of ['v1', model.digest]) {
        const manifest = await request(at(`manifests/${reference}`));
        assert.equal(manifest.digest, model.digest);
        assert.equal(manifest.headers.get('content-type'), MEDIA_TYPES.ociManifest);
        const { artifactType } = JSON.parse(manifest.body.toString()) as { artifactType: string };
        assert.equal(artifactType, 'application/vnd.weir.test');
      }
      for (const { digest } of model.blobs) {
        const blob = await request(at(`blobs/${digest}`));
        assert.deepEqual([blob.status, blob.digest], [200, digest]);
      }
    }
    const sizes = model.blobs.reduce((sum, { size }) => sum + size, 0);
    const fetched = await cluster.metric('weir_upstream_bytes_total');
    assert.equal(fetched, sizes, 'each blob left the registry once');
    const shared = (await cluster.node(1).metrics()).sum('weir_peer_bytes_total', { direction: 'in' });
    assert.ok(shared >= sizes, `${shared} bytes from the peer`);
  });

  it('that sign an image are found and read while the registry is down', async () => {
    await using registry = await Registry.start();
    await using front = await FaultProxy.start(registry.url);
    await using weir = await WeirNode.start({ settings: { 'tags.ttl': '0s' } });
    const image = await buildImage({ seed: 'signed' });
    const signature = buildArtifact(Buffer.from('a signature'), image);
    await push(registry.url, 'signed/app', 'v1', image);
    await push(registry.url, 'signed/app', signature.digest, signature);
    // docker-registry 2.8 has no such endpoint.
    const body = buildIndex([signature]).bytes;
    const headers = { 'content-type': MEDIA_TYPES.ociIndex };
    front.setRules({ path: /\/referrers\//, fault: { kind: 'answer', status: 200, headers, body } });
    const verify = async (): Promise<readonly (string | null)[]> => {
      const at = (path: string): string => weir.urlOf(front.host, `signed/app/${path}`);
      const head = await request(at('manifests/v1'), { method: 'HEAD' });
      const digest = head.headers.get('docker-content-digest') ?? '';
      const list = await request(at(`referrers/${digest}`));
      const { manifests } = JSON.parse(list.body.toString()) as { manifests: { digest: string }[] };
      assert.equal(manifests[0]?.digest, signature.digest);
      const manifest = await request(at(`manifests/${signature.digest}`));
      assert.equal(manifest.digest, signature.digest);
      const payload = await request(at(`blobs/${signature.blobs[1]?.digest ?? ''}`));
      assert.equal(payload.body.toString(), 'a signature');
      return [head, list].map((answer) => answer.headers.get('weir-stale'));
    };
    assert.deepEqual(await verify(), [null, null]);
    front.setRules({ path: /^/, fault: { kind: 'reset' } });
    assert.deepEqual(await verify(), ['tag v1 as last seen', `referrers of ${image.digest} as last seen`]);
    await weir.logged(/referrers answered as last seen/);
    assert.equal((await weir.metrics()).sum('weir_referrers_stale_total'), 1);
  });
});

requires(
  'root',
  'docker-registry',
  'nsenter',
  PODMAN5,
)('artifacts: podman 5', () => {
  it('podman artifact pulls through the mirror, with the registry gone, too', async () => {
    await using registry = await Registry.start();
    await using weir = await WeirNode.start({ registries: { 'registry.test': { endpoint: registry.url } } });
    const model = buildArtifact(randomBytes('for podman', 3 * MIB));
    await push(registry.url, 'models/podman', 'v1', model);
    const name = 'registry.test/models/podman:v1';
    for (const state of ['there', 'gone']) {
      if (state === 'gone') await registry.stop();
      await using podman = await Podman5.create();
      await podman.configure(
        ['[[registry]]', 'location = "registry.test"', 'insecure = true'],
        ['[[registry.mirror]]', `location = "${weir.host}/registry.test"`, 'insecure = true'],
      );
      const pulled = await podman.run('artifact', 'pull', name);
      assert.equal(pulled.code, 0, describeResult('podman artifact pull', pulled));
      const told = JSON.parse(await podman.runOk('artifact', 'inspect', name)) as {
        Manifest: { layers: { digest: string }[] };
      };
      assert.equal(told.Manifest.layers[0]?.digest, model.blobs[1]?.digest, state);
    }
  });
});

// A pod's volume of type `image` is pulled by the same call as its images.
for (const suite of ['trixie', 'forky'] as const) {
  requires(
    'root',
    'docker-registry',
    'nsenter',
    inTree(suite, 'containerd'),
  )(`artifacts: containerd of ${suite}`, () => {
    it('is given an artifact by the mirror when the kubelet asks for it', async () => {
      await using registry = await Registry.start();
      await using weir = await WeirNode.start();
      await using tree = await DebianTree.enter(suite);
      await using containerd = await Containerd.start({ within: tree.within });
      await containerd.configure({ mirrorUrl: weir.url, registries: [registry.host] });
      const model = buildArtifact(randomBytes('a volume', 3 * MIB));
      await push(registry.url, 'models/volume', 'v1', model);
      await containerd.cri.pullOk(`${registry.host}/models/volume:v1`);
      for (const { digest } of [model, ...model.blobs]) {
        assert.equal((await containerd.content(digest)).code, 0, digest);
      }
      assertSentOnce(registry.accessLog, model);
      assertNoBypass(registry.accessLog);
    });
  });
}

// Debian has neither oras nor helm: there are tests of them where they are on PATH, and none elsewhere.
const ifThere = (program: string, title: string, tests: () => void): void => {
  if (findProgram(program) !== undefined) describe(title, tests);
};

ifThere('helm', 'artifacts: helm', () => {
  it('pulls a chart by the mirror in the reference, with the registry gone, too', async () => {
    await using registry = await Registry.start();
    await using weir = await WeirNode.start();
    await using dir = await TempDir.create('helm');
    const helm = (...args: readonly string[]): Promise<string> =>
      runOk('helm', args, { cwd: dir.path, env: { HOME: dir.path } });
    await helm('create', 'app');
    await helm('package', 'app');
    await helm('push', 'app-0.1.0.tgz', `oci://${registry.host}/charts`, '--plain-http');
    const chart = `oci://${weir.host}/${registry.host.replace(':', '__')}/charts/app`;
    for (const state of ['there', 'gone']) {
      if (state === 'gone') await registry.stop();
      await mkdir(dir.join(state));
      await helm('pull', chart, '--version', '0.1.0', '--plain-http', '--destination', state);
      assert.deepEqual(
        await readFile(dir.join(state, 'app-0.1.0.tgz')),
        await readFile(dir.join('app-0.1.0.tgz')),
      );
    }
  });
});

ifThere('oras', 'artifacts: oras', () => {
  it('pulls, and lists referrers, by the mirror in the reference, with the registry gone, too', async () => {
    await using open = await Registry.start();
    await using registry = await Registry.start({ storage: open.storage, users: { alice: 'secret' } });
    await using front = await FaultProxy.start(registry.url);
    await using weir = await WeirNode.start();
    await using dir = await TempDir.create('oras');
    const oras = (...args: readonly string[]): Promise<string> =>
      runOk('oras', args, { cwd: dir.path, env: { HOME: dir.path, DOCKER_CONFIG: dir.path } });
    const content = randomBytes('a chart', 2 * MIB);
    const chart = buildArtifact(content);
    const sbom = buildArtifact(Buffer.from('an sbom'), chart);
    const files = { ...chart, ...named(chart.bytes, 'chart.tgz') };
    await push(open.url, 'charts/app', 'v1', files);
    const list = { schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests: [descriptorOf(sbom)] };
    const headers = { 'content-type': MEDIA_TYPES.ociIndex };
    const answer = { kind: 'answer', status: 200, headers, body: JSON.stringify(list) } as const;
    front.setRules({ path: /\/referrers\//, fault: answer });
    const reference = `${weir.host}/${front.host.replace(':', '__')}/charts/app:v1`;
    await assert.rejects(oras('pull', '--plain-http', reference), /credential/);
    await oras('login', '--plain-http', weir.host, '--username', 'alice', '--password', 'secret');
    for (const state of ['there', 'gone']) {
      if (state === 'gone') front.setRules({ path: /^/, fault: { kind: 'reset' } });
      await oras('pull', '--plain-http', '--output', state, reference);
      assert.deepEqual(await readFile(dir.join(state, 'chart.tgz')), content);
      const found = await oras('discover', '--plain-http', '--format', 'json', reference);
      assert.ok(found.includes(sbom.digest), found);
    }
  });
});

/** A manifest whose layer has this file name, as oras writes it. */
function named(
  manifest: Uint8Array,
  title: string,
): Pick<ReturnType<typeof buildArtifact>, 'digest' | 'size' | 'bytes'> {
  const document = JSON.parse(Buffer.from(manifest).toString()) as { layers: object[] };
  const annotations = { 'org.opencontainers.image.title': title };
  document.layers = document.layers.map((layer) => ({ ...layer, annotations }));
  const bytes = Buffer.from(JSON.stringify(document));
  return { bytes, size: bytes.length, digest: digestOf(bytes) };
}
