/** The container image: its contents, that a second build is the same, and that it runs under each runtime. */
import assert from 'node:assert/strict';
import { copyFile, mkdir, readFile } from 'node:fs/promises';
import { arch as hostArch } from 'node:process';
import { Spec, Validation } from '@cyclonedx/cyclonedx-library';
import { buildImage } from '../../deploy/image/build.ts';
import { readLayout } from '../../deploy/image/layout.ts';
import { ARCHITECTURES } from '../../deploy/image/platforms.ts';
import { MIB, MINUTE } from '../../src/util/clock.ts';
import { assertOk } from '../support/assertions.ts';
import { BUILDING, builtImage, imageOf, writeArchive } from '../support/built-image.ts';
import { Containerd, containerName } from '../support/containerd.ts';
import { Containers } from '../support/containers.ts';
import { Docker } from '../support/docker.ts';
import { shared } from '../support/fixture.ts';
import { assertServesPull, NODE_ARGUMENTS } from '../support/image-node.ts';
import { HOST_PLATFORM } from '../support/images.ts';
import { Program, run, runOk } from '../support/program.ts';
import { Registry } from '../support/registry.ts';
import { requires } from '../support/requires.ts';
import { TempDir } from '../support/temp.ts';

const MAX_COMPRESSED = 60 * MIB;
const NAME = 'localhost/weir:test';
const VERSION = /^weir \d+\.\d+\.\d+ \(Node\.js v\d+\.\d+\.\d+, linux\/(x64|arm64)\)\n$/;

requires(...BUILDING)('image: contents', () => {
  const lab = shared(async () => builtImage());

  it('holds both architectures, each at most 60 MiB compressed, with labels and a user other than root', () => {
    const { layout, version } = lab();
    assert.deepEqual(
      layout.images.map(({ architecture }) => architecture),
      ['amd64', 'arm64'],
    );
    for (const { architecture, layers, config } of layout.images) {
      const size = layers.reduce((sum, layer) => sum + layer, 0);
      assert.ok(size <= MAX_COMPRESSED, `${architecture} has ${size} bytes`);
      assert.equal(config['architecture'], architecture);
      const { User: user, Labels: labels } = config['config'] as {
        User: string;
        Labels: Record<string, string>;
      };
      assert.equal(user, '65532:65532');
      assert.equal(labels['org.opencontainers.image.version'], version);
      assert.equal(labels['org.opencontainers.image.licenses'], 'Apache-2.0');
    }
  });

  it('lists its parts in a valid bill of materials, and holds a copy of it', async () => {
    const { folder, layoutFolder } = lab();
    for (const { name } of ARCHITECTURES) {
      const text = await readFile(`${folder}/weir-${name}.cdx.json`, 'utf8');
      const problems = await new Validation.JsonStrictValidator(Spec.Version.v1dot6).validate(text);
      assert.equal(problems, null, JSON.stringify(problems));
      const { components } = JSON.parse(text) as { components: { name: string; version: string }[] };
      const names = new Set(components.map((component) => component.name));
      for (const part of ['libp2p', 'undici', 'pino', 'libc6', 'libstdc++6', 'ca-certificates']) {
        assert.ok(names.has(part), `${part} is missing`);
      }
      const layers = await layerFiles(layoutFolder, imageOf(lab(), name).digest);
      const inside = await runOk('tar', ['-xzOf', layers.at(-1) ?? '', 'usr/share/sbom/weir.cdx.json']);
      assert.equal(inside, text);
    }
  });

  it('comes out the same when it is built again', async () => {
    await using out = await TempDir.create('image-again');
    const architectures = ARCHITECTURES.filter(({ name }) => name === HOST_PLATFORM.architecture);
    const { layout } = await buildImage({ out: out.path, architectures });
    const again = (await readLayout(layout)).images.map(({ digest }) => digest);
    assert.deepEqual(again, [imageOf(lab(), HOST_PLATFORM.architecture).digest]);
  }).timeout(5 * MINUTE);
});

requires(
  ...BUILDING,
  'docker-registry',
  'containerd',
  'ctr',
  'runc',
  'dockerd',
  'docker',
  'podman',
)('image: runs', () => {
  const lab = shared(async (stack) => {
    const image = await builtImage();
    const registry = stack.use(await Registry.start());
    const dir = stack.use(await TempDir.create('image-run'));
    const archive = dir.join('docker.tar');
    await writeArchive(image, 'docker-archive', archive, NAME);
    return { image, registry, dir, archive };
  });

  it('under containerd with a read-only root file system, as a user other than root', async () => {
    const { image, registry, dir } = lab();
    await using containerd = await Containerd.start();
    await writeArchive(image, 'oci-archive', dir.join('oci.tar'), NAME);
    await containerd.ctrOk(['images', 'import', '--index-name', NAME, dir.join('oci.tar')]);
    assert.match(
      await containerd.ctrOk(['run', '--rm', NAME, containerName(), '/usr/bin/weir', 'version']),
      VERSION,
    );
    const data = 'type=tmpfs,src=tmpfs,dst=/var/lib/weir,options=uid=65532:gid=65532:mode=0700';
    const how = [
      '--rm',
      '--net-host',
      '--read-only',
      '--mount',
      data,
      NAME,
      containerName(),
      '/usr/bin/weir',
    ];
    const address = ['--address', containerd.socket, '--namespace', 'k8s.io'];
    const args = [...address, 'run', ...how, ...NODE_ARGUMENTS];
    await using program = await Program.start({ command: 'ctr', args });
    await assertServesPull(program, registry, 'containerd');
  });

  it('under Docker with a read-only root file system and no capability', async () => {
    const { registry, archive } = lab();
    await using docker = await Docker.start();
    await docker.commandOk(['load', '--quiet', '--input', archive]);
    const how = ['run', '--rm', '--network=host', '--read-only', '--cap-drop=ALL'];
    assert.match(await docker.commandOk([...how, NAME, 'version']), VERSION);
    await using program = await docker.start([...how, NAME, ...NODE_ARGUMENTS]);
    await assertServesPull(program, registry, 'docker');
  });

  it('under podman with a read-only root file system and no capability', async () => {
    const { registry, archive } = lab();
    await using containers = await Containers.create();
    assertOk('podman load', await containers.podman('load', '--quiet', '--input', archive));
    const how = ['run', '--rm', '--network=host', '--read-only', '--cap-drop=ALL'];
    const version = await containers.podman(...how, NAME, 'version');
    assertOk('podman run', version);
    assert.match(version.stdout, VERSION);
    await using program = await containers.startPodman(...how, NAME, ...NODE_ARGUMENTS);
    await assertServesPull(program, registry, 'podman');
  });
});

requires(
  ...BUILDING,
  'docker-registry',
  'qemu-aarch64-static',
)('image: arm64', () => {
  it('runs under emulation, and serves a pull', async function () {
    if (hostArch !== 'x64') this.skip(); // on arm64, the tests above run this image
    const image = await builtImage();
    await using dir = await TempDir.create('arm64');
    const root = dir.join('root');
    await mkdir(root);
    for (const layer of await layerFiles(image.layoutFolder, imageOf(image, 'arm64').digest)) {
      await runOk('tar', ['-xzf', layer, '--directory', root]);
    }
    await copyFile('/usr/bin/qemu-aarch64-static', `${root}/qemu`);
    await mkdir(`${root}/proc`);
    // The kernel need not know the architecture: the emulator is started by its path.
    const enter = 'mount -t proc proc "$0/proc" && exec chroot "$0" /qemu /usr/bin/node "$@"';
    const argv = [
      '--mount',
      'sh',
      '-c',
      enter,
      root,
      '--max-semi-space-size=2',
      '/usr/lib/weir/cli/main.mjs',
    ];
    const version = await run('unshare', [...argv, 'version']);
    assertOk('weir version', version);
    assert.match(version.stdout, VERSION);
    assert.match(version.stdout, /linux\/arm64/);

    await using registry = await Registry.start();
    const args = [...argv, ...NODE_ARGUMENTS];
    await using program = await Program.start({ command: 'unshare', args });
    await assertServesPull(program, registry, 'arm64');
  }).timeout(5 * MINUTE);
});

async function layerFiles(layout: string, digest: string): Promise<readonly string[]> {
  const path = (each: string): string => `${layout}/blobs/${each.replace(':', '/')}`;
  const manifest = JSON.parse(await readFile(path(digest), 'utf8')) as { layers: { digest: string }[] };
  return manifest.layers.map((layer) => path(layer.digest));
}
