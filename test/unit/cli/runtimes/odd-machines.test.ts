/** Machines with a history: masked files, folders that cannot be written, lost records, options on command lines. */
import assert from 'node:assert/strict';
import { mkdir, readFile, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { parse as parseToml } from 'smol-toml';
import { isWeirError } from '../../../../src/util/errors.ts';
import { STATE_FOLDER } from '../../../../src/host/original-files.ts';
import { Machine, MIRROR, PATHS } from './fixture.ts';

const CERTS = '/etc/containerd/certs.d';
const configPath = (folders: string): string =>
  `version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\nconfig_path = "${folders}"\n`;
const told = (outcome: { readonly lines: readonly string[] }): string => outcome.lines.join('\n');

describe('host configure on a machine with a history', () => {
  it('leaves a masked file alone', async () => {
    await using machine = await Machine.create({
      [PATHS.containerdConfig]: configPath(CERTS),
      '/dev/null': '',
      '/etc/docker/x': '',
      '/etc/containers/registries.conf.d/10.conf': '',
    });
    for (const path of [PATHS.docker, PATHS.containers]) await symlink('/dev/null', machine.path(path));
    const outcome = await machine.configure();
    for (const path of [PATHS.docker, PATHS.containers]) {
      assert.ok(
        told(outcome).includes(`note: ${path} is no regular file, as if it were masked`),
        told(outcome),
      );
    }
    assert.equal(await machine.read('/dev/null'), '');
    assert.match(await machine.read(PATHS.hosts), /4770/);
    await machine.restore();
    assert.equal(await machine.read('/dev/null'), '');
  });

  it('names each file that cannot be written before it writes any', async () => {
    await using machine = await Machine.create({
      [PATHS.containerdConfig]: configPath(CERTS),
      [PATHS.docker]: '{}',
      [CERTS]: 'a file in the place of the folder',
      '/etc/containers/registries.conf': '',
      '/etc/containers/registries.conf.d': 'another one',
    });
    const before = await machine.snapshot();
    assert.match(
      (await machine.configure({}, undefined, true)).diff,
      /^\+\+\+ b\/etc\/docker\/daemon\.json$/m,
    );
    assert.deepEqual(await machine.snapshot(), before);
    await assert.rejects(
      machine.configure(),
      (error) =>
        isWeirError(error, 'runtime_config') &&
        /_default\/hosts\.toml cannot be written .*; .*99-weir\.conf cannot be written.*nothing was changed$/.test(
          error.message,
        ),
    );
    await rm(machine.path(STATE_FOLDER), { recursive: true, force: true });
    assert.deepEqual(await machine.snapshot(), before);
  });

  it('writes registries.yaml of k3s even if the files that k3s makes of it cannot be written', async () => {
    const agent = '/var/lib/rancher/k3s/agent/etc/containerd';
    await using machine = await Machine.create({
      [`${agent}/config.toml`]: '',
      [`${agent}/certs.d`]: 'a file in the place of the folder',
    });
    const outcome = await machine.configure({}, ['k3s']);
    assert.match(told(outcome), /k3s: note: .*_default\/hosts\.toml cannot be written .*left as it is/);
    assert.doesNotMatch(told(outcome), /hosts\.toml: written/);
    assert.match(await machine.read(PATHS.k3s), /4770/);
  });

  it('says why podman gets no mirror where two tables of one place would differ', async () => {
    await using machine = await Machine.create({
      '/etc/containers/registries.conf':
        '[[registry]]\nprefix = "*.io"\ninsecure = true\n[[registry]]\nprefix = "old.corp"\nlocation = "quay.io"\n',
    });
    const outcome = await machine.configure({ registries: ['quay.io', 'ghcr.io'] });
    assert.match(
      told(outcome),
      /note: quay\.io: another table of the same place differs in insecure or blocked/,
    );
    const own = await machine.read(PATHS.containers);
    assert.ok(own.includes('prefix = "ghcr.io"') && !own.includes('prefix = "quay.io"'));
  });

  it('finds the data folder of k3s in its configuration', async () => {
    await using machine = await Machine.create({
      '/etc/rancher/k3s/config.yaml': 'data-dir: /srv/k3s\n',
      '/srv/k3s/agent/etc/containerd/config.toml': '',
    });
    await machine.configure({}, ['k3s']);
    assert.match(await machine.read('/srv/k3s/agent/etc/containerd/certs.d/_default/hosts.toml'), /4770/);
  });

  it('refuses a config_path that is no absolute path, and leaves no record behind', async () => {
    for (const folders of ['certs.d', ':/etc/containerd/certs.d']) {
      await using machine = await Machine.create({
        [PATHS.containerdConfig]: configPath(folders),
        [PATHS.docker]: '{}',
      });
      const outcome = await machine.configure();
      assert.match(told(outcome), /containerd: note: config_path .* is no list of absolute paths/);
      assert.match(await machine.read(PATHS.docker), /4770/);
      await machine.restore();
      assert.equal(await machine.read(PATHS.docker), '{}');
    }
  });

  it('reads the configuration that containerd was told to read', async () => {
    await using machine = await Machine.create({
      '/proc/12/cmdline': '/usr/bin/containerd\0--config\0/etc/k0s/containerd.toml\0',
      '/proc/12/environ': 'HTTPS_PROXY=http://user:secret@proxy.corp\0',
      '/etc/k0s/containerd.toml': configPath('/etc/k0s/certs.d'),
    });
    const outcome = await machine.configure();
    assert.match(await machine.read('/etc/k0s/certs.d/_default/hosts.toml'), /4770/);
    assert.match(told(outcome), /containerd was started with HTTPS_PROXY/);
    assert.ok(!told(outcome).includes('secret'));
  });

  it('finds the file that hides config_path, and files behind patterns of folders', async () => {
    await using machine = await Machine.create({
      [PATHS.containerdConfig]: `imports = ["*.d/*.toml"]\n${configPath(CERTS)}`,
      '/etc/containerd/gpu.d/99.toml': '[plugins."io.containerd.grpc.v1.cri"]\nenable_cdi = true\n',
    });
    assert.match(
      told(await machine.configure()),
      /gpu\.d\/99\.toml has a table of the CRI plugin without config_path/,
    );
  });

  it('takes over the certificates beside which it puts a file', async () => {
    await using machine = await Machine.create({
      [PATHS.containerdConfig]: configPath(CERTS),
      [`${CERTS}/reg.corp/ca.crt`]: '',
      [`${CERTS}/reg.corp/client.cert`]: '',
      [`${CERTS}/reg.corp/client.key`]: '',
    });
    const at = (name: string): string => `${CERTS}/reg.corp/${name}`;
    assert.match(told(await machine.configure()), /reg\.corp: has a folder of its own/);
    await assert.rejects(machine.read(at('hosts.toml')));
    await machine.configure({ registries: ['reg.corp'] });
    const { server, ca, client, host } = parseToml(await machine.read(at('hosts.toml')));
    assert.deepEqual(
      [server, ca, client],
      ['https://reg.corp', [at('ca.crt')], [[at('client.cert'), at('client.key')]]],
    );
    assert.deepEqual(Object.keys(host as object), [MIRROR]);
  });
});

describe('host restore on a machine with a history', () => {
  it('restores the others if one file was broken by hand, and says so', async () => {
    await using machine = await Machine.create({
      [PATHS.containerdConfig]: configPath(CERTS),
      [PATHS.docker]: '{}',
    });
    await machine.configure();
    await machine.write(PATHS.docker, '{"registry-mirrors": ["http://127.0.0.1:4770"],}');
    const { failures } = await machine.restore();
    assert.match(failures.join('\n'), /^\/etc\/docker\/daemon\.json:1 is not valid JSON/);
    await assert.rejects(machine.read(PATHS.hosts));
    await machine.write(PATHS.docker, '{"registry-mirrors": ["http://127.0.0.1:4770"], "debug": true}');
    assert.deepEqual((await machine.restore()).failures, []);
    assert.deepEqual(JSON.parse(await machine.read(PATHS.docker)), { debug: true });
  });

  it('takes its blocks out, and names what it may have written, if the records are lost', async () => {
    const own = '[host."https://mirror.corp"]\n';
    const other = `${CERTS}/quay.io/hosts.toml`;
    await using machine = await Machine.create({
      [PATHS.containerdConfig]: configPath(CERTS),
      [PATHS.docker]: '{}',
      [PATHS.containersMain]: '',
      [other]: own,
    });
    await machine.configure({ registries: ['_default', 'docker.io', 'quay.io'] });
    await rm(machine.path(STATE_FOLDER), { recursive: true });
    const outcome = await machine.restore();
    for (const path of [PATHS.hosts, PATHS.containers])
      await assert.rejects(readFile(machine.path(path)), path);
    assert.equal(await machine.read(other), own);
    assert.match(told(outcome), /daemon\.json names http:\/\/127\.0\.0\.1:4770, and no record says/);
  });

  it('finds its own block without a record at the next configure, and knows what was there', async () => {
    const own = '[host."https://mirror.corp"]\n';
    await using machine = await Machine.create({
      [PATHS.containerdConfig]: configPath(CERTS),
      [PATHS.hosts]: own,
    });
    await machine.configure();
    await rm(machine.path(STATE_FOLDER), { recursive: true });
    await machine.configure({ mirrorUrl: 'http://127.0.0.1:4999' });
    assert.ok(!(await machine.read(PATHS.hosts)).includes(MIRROR));
    await machine.restore();
    assert.equal(await machine.read(PATHS.hosts), own);
  });

  it('puts the time of a file back with its text', async () => {
    await using machine = await Machine.create({});
    await mkdir(dirname(machine.path(PATHS.docker)), { recursive: true });
    await writeFile(machine.path(PATHS.docker), '{}');
    await utimes(machine.path(PATHS.docker), 1_600_000_000, 1_600_000_000);
    await machine.configure({}, ['docker']);
    assert.notEqual((await stat(machine.path(PATHS.docker))).mtimeMs, 1_600_000_000_000);
    await machine.configure({ mirrorUrl: 'http://127.0.0.1:4999' }, ['docker']);
    await machine.restore();
    assert.equal((await stat(machine.path(PATHS.docker))).mtimeMs, 1_600_000_000_000);
  });
});
