/** The program as the image holds it: code that is loaded late, or was written for CommonJS, is there and works. */
import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { bundle } from '../../../deploy/image/bundle.ts';
import { SECOND } from '../../../src/util/clock.ts';
import { shared } from '../../support/fixture.ts';
import { Program, runOk } from '../../support/program.ts';
import { TempDir } from '../../support/temp.ts';

const ROOT = resolve(import.meta.dirname, '../../..');

describe('bundle', function () {
  this.timeout(60 * SECOND);

  const lab = shared(async (stack) => {
    const dir = stack.use(await TempDir.create('bundle'));
    const packages = await bundle(ROOT, dir.join('weir'));
    return { dir, packages, main: dir.join('weir/main.mjs') };
  });

  const weir = async (...args: readonly string[]): Promise<string> =>
    runOk(process.execPath, [lab().main, ...args], { cwd: '/' });

  it('knows the licence of each package in it', () => {
    const { packages } = lab();
    assert.ok(packages.length > 50, `${packages.length} packages`);
    const names = new Set(packages.map(({ name }) => name));
    for (const name of ['libp2p', 'undici', 'yaml', 'pino']) assert.ok(names.has(name), name);
    for (const { name, license } of packages) assert.notEqual(license, 'NOASSERTION', name);
  });

  it('reads and writes YAML', async () => {
    const file = lab().dir.join('config.yaml');
    await writeFile(file, 'tags:\n  ttl: 1m\n');
    assert.match(await weir('config', '--yaml', '--config', file), /ttl: 1m/);
  });

  it('edits TOML, JSON and YAML of runtimes', async () => {
    const host = lab().dir.join('host');
    for (const folder of ['etc/containerd', 'etc/docker', 'usr/bin', 'etc/rancher/k3s']) {
      await mkdir(`${host}/${folder}`, { recursive: true });
    }
    await writeFile(`${host}/etc/containerd/config.toml`, 'version = 3\n');
    await writeFile(`${host}/etc/docker/daemon.json`, '{ "debug": true }\n');
    await writeFile(`${host}/usr/bin/dockerd`, '');
    await writeFile(`${host}/usr/bin/k3s`, '', { mode: 0o755 });
    await writeFile(`${host}/etc/rancher/k3s/registries.yaml`, 'mirrors: {}\n');
    const diff = await weir('host', 'configure', '--dry-run', '--host-root', host);
    for (const file of ['hosts.toml', 'daemon.json', 'registries.yaml']) {
      assert.match(diff, new RegExp(`^\\+\\+\\+ .*${file}`, 'm'));
    }
  });

  it('prints a completion', async () => {
    assert.match(await weir('complete', 'bash'), /weir/);
  });

  const startNode = async (name: string, ...more: readonly string[]): Promise<Program> => {
    const { dir, main } = lab();
    const args = [
      [main, 'node', '--data-dir', dir.join(name), '--store-runtime-content', 'none'],
      ['--mirror-listen', '127.0.0.1:0', '--admin-listen', '127.0.0.1:0'],
      ['--cluster-listen', '127.0.0.1:0', '--transfer-listen', '127.0.0.1:0'],
      more,
    ].flat();
    return Program.start({ command: process.execPath, args });
  };

  it('runs a node with mDNS and a log for people', async () => {
    const key = lab().dir.join('key');
    await writeFile(key, 'a key for tests, of more than enough bytes\n');
    const more = ['--log-format', 'pretty', '--cluster-mdns', 'on', '--cluster-key-file', key];
    await using program = await startNode('pretty', ...more);
    await program.line(/INFO.*ready/);
    assert.equal((await program.stop()).code, 0);
  });

  it('runs the watchdog, whose code is passed as text', async () => {
    await using program = await startNode('hung', '--mirror-hang-timeout', '1s');
    await program.line(/"msg":"ready"/);
    program.signal('SIGSTOP');
    assert.equal((await program.exited).signal, 'SIGKILL');
  });
});
