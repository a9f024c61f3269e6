/**
 * The chart's DaemonSets, run by `podman kube play` as a node would run them: the init container configures a real
 * containerd, an image is pulled through the node, and the removal gives the host its files back. There is no API
 * server here: what it and a kubelet would have put into the pod, support/kubelet.ts does.
 */
import assert from 'node:assert/strict';
import { cp, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { parseManifests, template, type Manifest } from '../../deploy/helm.ts';
import { KIB, MIB, MINUTE } from '../../src/clock.ts';
import type { StatusReport } from '../../src/status/report.ts';
import { assertIntact, assertNoBypass, assertSentOnce } from '../support/assertions.ts';
import { BUILDING, builtImage, writeArchive } from '../support/built-image.ts';
import { Containerd } from '../support/containerd.ts';
import { shared } from '../support/fixture.ts';
import { snapshot } from '../support/folder-snapshot.ts';
import { buildImage } from '../support/images.ts';
import { asOnNode } from '../support/kubelet.ts';
import { Podman5, PODMAN5 } from '../support/podman5.ts';
import { freePort } from '../support/ports.ts';
import { push } from '../support/push.ts';
import { Registry } from '../support/registry.ts';
import { requires } from '../support/requires.ts';
import { TempDir } from '../support/temp.ts';

const IMAGE = 'localhost/weir:test';

requires(
  ...BUILDING,
  'docker-registry',
  'containerd',
  'ctr',
  'nsenter',
  PODMAN5,
)('kubernetes: a node', () => {
  const lab = shared(async (stack) => {
    const host = stack.use(await TempDir.create('host-root'));
    const registry = stack.use(await Registry.start());
    await makeHost(host, registry);
    const before = await snapshot(host.path);
    const containerd = stack.use(await Containerd.start({ root: host.path }));
    const podman = stack.use(await Podman5.create());
    await using files = await TempDir.create('archive');
    await writeArchive(await builtImage(), 'docker-archive', files.join('weir.tar'), IMAGE);
    await podman.load(files.join('weir.tar'));
    const pods = stack.use(await TempDir.create('pods'));
    const ports = {
      mirror: await freePort(),
      admin: await freePort(),
      control: await freePort(),
      data: await freePort(),
    };
    return { host, registry, before, containerd, podman, pods, ports };
  });

  const render = async (): Promise<readonly Manifest[]> => {
    const { host, registry, containerd, ports } = lab();
    const values = {
      image: { repository: 'localhost/weir', tag: 'test', pullPolicy: 'Never' },
      ports,
      hostSetup: { registries: ['_default', registry.host] },
      runtimeContent: { hostPath: containerd.contentFolder },
      zone: { from: 'podLabel' },
    };
    await writeFile(lab().pods.join('values.json'), JSON.stringify(values)); // is YAML
    const facts = {
      hostRoot: host.path,
      keep: [containerd.contentFolder],
      fields: {
        'spec.nodeName': 'node-1',
        'status.podIPs': '127.0.0.1',
        "metadata.labels['topology.kubernetes.io/zone']": 'zone-1',
      },
    };
    const all = parseManifests(await template('--values', lab().pods.join('values.json')));
    return all.map((manifest) => asOnNode(manifest, facts));
  };

  /** Plays the manifests; resolves with how to take them down. */
  const play = async (name: string, manifests: readonly Manifest[]): Promise<() => Promise<unknown>> => {
    const { podman, pods } = lab();
    const file = pods.join(`${name}.yaml`);
    await writeFile(file, manifests.map((each) => `---\n${JSON.stringify(each)}\n`).join(''));
    try {
      await podman.runOk('kube', 'play', file);
    } catch (cause) {
      throw new Error(`${String(cause)}\n${await logs(`${name}-pod`)}`, { cause });
    }
    return () => podman.runOk('kube', 'down', file);
  };

  const logs = async (pod: string): Promise<string> => {
    const { stdout, stderr } = await lab().podman.run('pod', 'logs', '--names', pod);
    return stdout + stderr;
  };

  const admin = async (path: string): Promise<Response> =>
    fetch(`http://127.0.0.1:${lab().ports.admin}${path}`);

  const ready = async (): Promise<void> => {
    for (const deadline = Date.now() + MINUTE; ;) {
      const answer = await admin('/readyz').catch(() => undefined);
      if (answer?.status === 200) return;
      if (Date.now() > deadline) throw new Error(`the node is not ready:\n${await logs('weir-pod')}`);
      await delay(100);
    }
  };

  it('configures containerd, serves its pull, and the removal gives the files back byte for byte', async () => {
    const { host, registry, before, containerd, podman } = lab();
    const manifests = await render();
    const parts = manifests.filter(
      ({ kind, metadata }) =>
        ['ConfigMap', 'Secret'].includes(kind) || (kind === 'DaemonSet' && metadata.name === 'weir'),
    );
    const down = await play('weir', parts);
    await ready();
    const configured = await readFile(
      host.join(`etc/containerd/certs.d/${registry.host}/hosts.toml`),
      'utf8',
    );
    assert.match(configured, /# kept by hand/);
    assert.ok(configured.includes(`http://127.0.0.1:${lab().ports.mirror}`), configured);
    const status = (await (await admin('/v1/status')).json()) as StatusReport;
    assert.equal(status.name, 'node-1');
    assert.equal(status.zone, 'zone-1');
    assert.doesNotMatch(await logs('weir-pod'), /watchdog cannot/);

    const image = await buildImage({ seed: 'kubernetes', layers: [100 * KIB, 20 * MIB] });
    await push(registry.url, 'kubernetes/app', 'v1', image);
    registry.accessLog.clear();
    await containerd.cri.pullOk(`${registry.host}/kubernetes/app:v1`);
    await assertIntact(containerd, image);
    assertNoBypass(registry.accessLog);
    assertSentOnce(registry.accessLog, image);

    await down();
    await containerd.removeImage(`${registry.host}/kubernetes/app:v1`);
    await containerd.cri.pullOk(`${registry.host}/kubernetes/app:v1`); // the files still name a mirror that is gone

    const restore = manifests.filter(
      ({ kind, metadata }) => kind === 'DaemonSet' && metadata.name === 'weir-restore',
    );
    assert.equal(restore.length, 1);
    const downAgain = await play('weir-restore', restore);
    const running = await podman.runOk('ps', '--filter', 'name=done', '--format', '{{.State}}');
    assert.equal(running.trim(), 'running', 'the pod that tells that its node is done');
    await downAgain();
    // What is Weir's own stays, as the store may be wanted again; nothing else has changed.
    const after = Object.entries(await snapshot(host.path)).filter(
      ([path]) => !path.startsWith('var/lib/weir/'),
    );
    assert.deepEqual(Object.fromEntries(after), before);
    assert.deepEqual(await readdir(host.join('var/lib/weir-host')), []);
    await containerd.cri.pullOk(`${registry.host}/kubernetes/app:v1`);
  }).timeout(4 * MINUTE);
});

/** A host with containerd, whose files for one registry are kept by hand. */
async function makeHost(host: TempDir, registry: Registry): Promise<void> {
  const folder = host.join('etc/containerd/certs.d', registry.host);
  await mkdir(folder, { recursive: true });
  await writeFile(`${folder}/hosts.toml`, `# kept by hand\nserver = "${registry.url}"\n`);
  const config =
    'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\nconfig_path = "/etc/containerd/certs.d"\n';
  await writeFile(host.join('etc/containerd/config.toml'), config, { mode: 0o640 });
  await cp('/etc/os-release', host.join('etc/os-release'));
  await mkdir(host.join('var/lib'), { recursive: true });
}
