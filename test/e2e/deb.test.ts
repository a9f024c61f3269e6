/** The Debian package in its own Debian: it is installed, runs a node, is removed and purged, and leaves nothing. */
import assert from 'node:assert/strict';
import { appendFile, cp, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { MINUTE } from '../../src/util/clock.ts';
import { builtDeb, DEB_BUILDING } from '../support/built-deb.ts';
import { copyTree, inTree } from '../support/debian-tree.ts';
import { shared } from '../support/fixture.ts';
import { Program, run, runOk, type Result } from '../support/program.ts';
import { requires } from '../support/requires.ts';
import { TempDir } from '../support/temp.ts';

const UNIT = new URL('../../deploy/systemd/weir.service', import.meta.url).pathname;
const HOSTS = 'etc/containerd/certs.d/_default/hosts.toml';
const CONTAINERD =
  'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\n  config_path = "/etc/containerd/certs.d"\n';
const DAEMON_JSON = '{ "debug": true }\n';
/** Paths that dpkg and the user tools write for themselves. */
const OTHERS =
  /^(var\/lib\/dpkg|var\/log|var\/cache\/debconf|proc|etc\/(passwd|group|shadow|gshadow|subuid|subgid)-?$)/;

requires(
  'root',
  ...DEB_BUILDING,
  inTree('bookworm', 'dpkg'),
  'chroot',
)('deb', function () {
  this.timeout(10 * MINUTE); // the package is built first
  const lab = shared(async (stack) => {
    const dir = stack.use(await TempDir.create('deb'));
    const root = dir.join('root');
    const [file] = await Promise.all([builtDeb(), copyTree('bookworm', root)]);
    await mkdir(join(root, 'etc/containerd'), { recursive: true });
    await mkdir(join(root, 'etc/docker'), { recursive: true });
    await writeFile(join(root, 'etc/containerd/config.toml'), CONTAINERD);
    await writeFile(join(root, 'etc/docker/daemon.json'), DAEMON_JSON);
    await cp(file, join(root, 'tmp', basename(file)));
    return { root, file: `/tmp/${basename(file)}` };
  });

  const inside = (...argv: readonly string[]): Promise<Result> =>
    run('chroot', [lab().root, ...argv], {
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', DEBIAN_FRONTEND: 'noninteractive' },
    });
  const ok = async (...argv: readonly string[]): Promise<string> => {
    const result = await inside(...argv);
    assert.equal(result.code, 0, `${argv.join(' ')}\n${result.stdout}\n${result.stderr}`);
    return result.stdout;
  };

  it('is installed, runs, survives an upgrade, and is purged without a trace', async () => {
    const { root, file } = lab();
    const before = await listing(root);
    const told = await ok('dpkg', '--install', file);
    assert.match(told, /containerd: \/etc\/containerd\/certs\.d\/_default\/hosts\.toml: written/);
    assert.match(await ok('weir', 'version'), /^weir \d+\.\d+\.\d+ \(Node\.js v/);
    assert.match(await readFile(join(root, HOSTS), 'utf8'), /127\.0\.0\.1:4770/);
    assert.match(await readFile(join(root, 'etc/docker/daemon.json'), 'utf8'), /127\.0\.0\.1:4770/);

    const settings = [
      '--mirror-listen',
      '127.0.0.1:0',
      '--admin-listen',
      '127.0.0.1:0',
      '--cluster-mode',
      'off',
    ];
    const weir = ['/usr/bin/weir', 'node', ...settings, '--log-format', 'json'];
    const user = ['setpriv', '--reuid=weir', '--regid=weir', '--clear-groups', '--no-new-privs'];
    await using node = await Program.start({
      command: 'chroot',
      args: [root, ...user, ...weir],
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', NODE_COMPILE_CACHE: '/var/cache/weir' },
    });
    const [line] = await node.line(/^.*"msg":"mirror listening".*$/);
    const [address = ''] = (JSON.parse(line) as { addresses: string[] }).addresses;
    assert.equal((await fetch(`${address}/v2/`)).status, 200);
    assert.deepEqual(await node.stop(), { code: 0, signal: null });

    await appendFile(join(root, HOSTS), '# by hand\n');
    await ok('dpkg', '--install', file);
    assert.match(await readFile(join(root, HOSTS), 'utf8'), /by hand/);

    await ok('dpkg', '--remove', 'weir');
    assert.equal(await readFile(join(root, HOSTS), 'utf8'), '# by hand\n');
    assert.equal(await readFile(join(root, 'etc/docker/daemon.json'), 'utf8'), DAEMON_JSON);
    assert.ok(
      (await readdir(join(root, 'var/lib/weir'))).length > 0,
      'the data folder stays until the purge',
    );
    await ok('rm', '-r', '/etc/containerd/certs.d'); // the edit by hand

    await ok('dpkg', '--purge', 'weir');
    assert.deepEqual(await listing(root), before);
    assert.notEqual((await inside('getent', 'passwd', 'weir')).code, 0);
  });
});

requires('systemd-analyze')('systemd unit', () => {
  it('passes systemd-analyze verify', async () => {
    const { stderr } = await run('systemd-analyze', ['verify', UNIT]);
    const faults = stderr.split('\n').filter((line) => line.includes('weir.service'));
    // Without the package, the unit's program is missing here: that fault is left out. A wrong key or value is not.
    assert.deepEqual(
      faults.filter((line) => !/\/usr\/bin\/weir|file:\/\/\//.test(line)),
      [],
    );
  });
});

/** Every path that is not dpkg's own, with its mode and, for a file, its size. */
async function listing(root: string): Promise<readonly string[]> {
  const skipped = ['proc', 'dev', 'sys'].flatMap((name) => ['-path', join(root, name), '-prune', '-o']);
  const shown = ['-type', 'd', '-printf', '%P %m\\n', '-o', '-printf', '%P %m %s\\n'];
  const found = await runOk('find', [root, '-xdev', ...skipped, ...shown]);
  return found
    .split('\n')
    .filter((line) => !OTHERS.test(line.split(' ')[0] ?? ''))
    .toSorted();
}
