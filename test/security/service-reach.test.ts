/**
 * The reach of a program that has taken over the service of the package, under a real systemd: it runs instead of
 * `weir node`, in the same unit. And the unit still lets a node do its work.
 */
import assert from 'node:assert/strict';
import { chmod, cp, mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { MINUTE } from '../../src/util/clock.ts';
import { digestHex, digestOf } from '../../src/oci/digest.ts';
import { builtDeb, DEB_BUILDING } from '../support/built-deb.ts';
import { shared } from '../support/fixture.ts';
import { runOk } from '../support/program.ts';
import { requires } from '../support/requires.ts';
import { BootedDebian, BOOTING } from '../support/systemd.ts';
import { TempDir } from '../support/temp.ts';

const CONTAINERD = 'var/lib/containerd';
const CONTENT = `${CONTAINERD}/io.containerd.content.v1.content/blobs/sha256`;
const BLOB = Buffer.from('a layer that containerd holds');
const SECRET = 'a secret of the machine';
/** Files with secrets, readable for root alone, at their usual paths. */
const SECRETS: readonly string[] = [
  'etc/kubernetes/admin.conf',
  'etc/ssh/ssh_host_ed25519_key',
  'etc/ssl/private/server.key',
  'opt/backup/dump.sql',
  'root/.ssh/id_ed25519',
  'srv/www/secret.env',
  'var/backups/passwd.bak',
  `${CONTAINERD}/io.containerd.metadata.v1.bolt/meta.db`,
  'var/lib/kubelet/pods/1/volumes/kubernetes.io~secret/token',
];

requires(
  ...BOOTING,
  ...DEB_BUILDING,
  'chroot',
)('a service that has been taken over', function () {
  this.timeout(10 * MINUTE); // the package is built first
  const lab = shared(async (stack) => {
    const dir = stack.use(await TempDir.create('service'));
    const root = dir.join('root');
    const [deb] = await Promise.all([builtDeb(), BootedDebian.putUp(root)]);
    await chmod(dir.path, 0o755); // the root folder of a machine can be passed through
    await cp(deb, join(root, 'var/weir.deb'));
    await runOk('chroot', [root, 'dpkg', '--install', '/var/weir.deb']);
    for (const path of SECRETS) await put(join(root, path), SECRET, 0o600);
    await put(join(root, CONTENT, digestHex(digestOf(BLOB))), BLOB, 0o444);
    await chmod(join(root, CONTAINERD), 0o700); // as containerd has it
    return { root };
  });

  it("reads containerd's content, no secret of the machine, and cannot gain rights", async () => {
    const { root } = lab();
    await put(join(root, 'etc/systemd/system/weir.service.d/taken-over.conf'), TAKEN_OVER, 0o644);
    await put(join(root, 'usr/lib/weir/taken-over'), attack(), 0o755);
    try {
      await using debian = await BootedDebian.boot(root);
      await debian.ok('systemctl', 'start', 'weir.service'); // oneshot: resolves at its end
      const told = await debian.ok('cat', '/var/lib/weir/told');
      const { stdout } = await debian.run('cat', '/etc/shadow');
      assert.ok(stdout.includes('root:'), 'there is something to be read');
      for (const path of SECRETS) assert.ok(told.includes(`/${path}: nothing`), told);
      assert.match(told, /^\/etc\/shadow: nothing$/m);
      assert.match(told, /^blob: a layer that containerd holds$/m);
      assert.match(told, /^CapEff: 0+$/m);
      assert.match(told, /^CapBnd: 0+$/m);
      assert.match(told, /^others: 0$/m);
    } finally {
      await runOk('rm', ['-r', join(root, 'etc/systemd/system/weir.service.d')]);
    }
  });

  it('lets a node work: it becomes ready and stops in order', async () => {
    await using debian = await BootedDebian.boot(lab().root);
    const [main] = (await debian.ok('systemctl', 'show', '--value', '-p', 'MainPID', 'weir')).split('\n');
    assert.notEqual(main, '0', await debian.ok('journalctl', '--unit', 'weir', '--no-pager'));
    const get = `fetch('http://127.0.0.1:4770/v2/').then(({ status }) => console.log(status))`;
    const node = '/usr/lib/weir/node_modules/.bin/node';
    const asked = await debian.ok('sh', '-c', `until "$0" -e "$1" 2>/dev/null; do :; done`, node, get);
    assert.match(asked, /200/);
    await debian.ok('systemctl', 'stop', 'weir');
    const log = await debian.ok('journalctl', '--unit', 'weir', '--no-pager', '--output', 'cat');
    assert.match(log, /"msg":"stopped"/);
    assert.doesNotMatch(log, /"level":"(warn|error)"/);
  });
});

async function put(path: string, content: string | Buffer, mode: number): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, content);
  await chmod(path, mode);
}

const TAKEN_OVER = '[Service]\nType=oneshot\nRestart=no\nExecStart=\nExecStart=/usr/lib/weir/taken-over\n';

/** Tries all it can, and writes the results where the service may write. */
function attack(): string {
  const blob = `/${CONTENT}/${digestHex(digestOf(BLOB))}`;
  const files = [...SECRETS.map((path) => `/${path}`), '/etc/shadow'];
  return `#!/bin/sh
exec >/var/lib/weir/told 2>/dev/null
for file in ${files.join(' ')}; do echo "$file: $(cat "$file" || echo nothing)"; done
echo "blob: $(cat ${blob})"
sed -n 's/^\\(Cap[EB][fn][fd]\\):[[:space:]]*/\\1: /p' /proc/self/status
echo "others: $(ls -d /proc/1 | wc -l)"
`;
}
