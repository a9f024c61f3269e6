/**
 * The chart's DaemonSets, run by `podman kube play` as a node runs them. The init container configures a real
 * containerd, an image is pulled through the node, and the removal gives the host its files back. There is no API
 * server: support/kubelet.ts puts into the pod what the API server and a kubelet would.
 */
import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { KIB, MIB, MINUTE } from '../../src/util/clock.ts';
import type { StatusReport } from '../../src/status/status-report.ts';
import { assertIntact, assertNoBypass, assertSentOnce } from '../support/assertions.ts';
import { shared } from '../support/fixture.ts';
import { snapshot } from '../support/folder-snapshot.ts';
import { buildImage } from '../support/images.ts';
import { PodScene, POD_NEEDS } from '../support/pod-scene.ts';
import { push } from '../support/push.ts';
import { requires } from '../support/requires.ts';

requires(...POD_NEEDS)('kubernetes: a node', () => {
  const lab = shared(async (stack) => stack.use(await PodScene.start()));

  it('configures containerd, serves its pull, and gives its files back byte for byte on removal', async () => {
    const scene = lab();
    const { host, registry, before, containerd, podman } = scene;
    const manifests = await scene.render();
    const down = await scene.play('weir', manifests);
    await scene.ready();
    const configured = await readFile(
      host.join(`etc/containerd/certs.d/${registry.host}/hosts.toml`),
      'utf8',
    );
    assert.match(configured, /# kept by hand/);
    assert.ok(configured.includes(`http://127.0.0.1:${scene.ports.mirror}`), configured);
    const status = (await (await scene.admin('/v1/status')).json()) as StatusReport;
    assert.equal(status.name, 'node-1');
    assert.equal(status.zone, 'zone-1');
    assert.doesNotMatch(await scene.logs('weir-pod'), /watchdog cannot/);

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

    const downAgain = await scene.play('weir-restore', manifests);
    const running = await podman.runOk('ps', '--filter', 'name=done', '--format', '{{.State}}');
    assert.equal(running.trim(), 'running', 'the pod that shows that its node is done is running');
    await downAgain();
    // Weir's own data stays, as the store may be wanted again. Nothing else has changed.
    const after = Object.entries(await snapshot(host.path)).filter(
      ([path]) => !path.startsWith('var/lib/weir/'),
    );
    assert.deepEqual(Object.fromEntries(after), before);
    assert.deepEqual(await readdir(host.join('var/lib/weir-host')), []);
    await containerd.cri.pullOk(`${registry.host}/kubernetes/app:v1`);
  }).timeout(4 * MINUTE);
});
