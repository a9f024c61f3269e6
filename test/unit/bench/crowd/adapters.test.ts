/** The systems of other projects: the commands that would be started. Their programs are not here, so none is run. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import type { CrowdSettings } from '../../../../bench/crowd/options.ts';
import { SYSTEM_OF } from '../../../../bench/crowd/systems/choose.ts';
import { centralCommands, dfdaemonCommand } from '../../../../bench/crowd/systems/dragonfly.ts';
import { agentCommand, herdCommands } from '../../../../bench/crowd/systems/kraken.ts';
import { bootstrapHosts, checkAnnounces, spegelCommand } from '../../../../bench/crowd/systems/spegel.ts';
import { TempDir } from '../../../support/temp.ts';
import { settingsOf } from './settings.ts';

const lacks = (name: 'spegel' | 'dragonfly' | 'kraken', changes: Partial<CrowdSettings>): string =>
  SYSTEM_OF[name].lacks?.(settingsOf(changes)) ?? '';

/** A file that the program gets, as JSON. */
function file({ files = {} }: { readonly files?: Readonly<Record<string, string>> }, path: string): unknown {
  const text = files[path];
  assert.ok(text !== undefined, `${path} is none of ${Object.keys(files).join(', ')}`);
  return JSON.parse(text);
}

describe('bench/crowd/systems of other projects', () => {
  it('say which option is missing, and its value', () => {
    assert.match(lacks('spegel', { runtime: 'containerd' }), /--spegel-bin is needed/);
    assert.match(
      lacks('dragonfly', {}),
      /--dragonfly-bin-dir is needed: .*manager, scheduler, dfdaemon, redis-server/,
    );
    assert.match(lacks('kraken', {}), /--kraken-bin-dir is needed: .*kraken-agent/);
  });

  it('say which file is no program', async () => {
    await using dir = await TempDir.create('binaries');
    await mkdir(dir.join('scheduler'));
    await writeFile(dir.join('dfdaemon'), '');
    const binaries = { spegel: dir.join('spegel'), dragonfly: dir.path, kraken: dir.path };
    assert.match(lacks('spegel', { runtime: 'containerd', binaries }), /spegel is no program/);
    assert.match(lacks('dragonfly', { binaries }), /has no program manager, scheduler, dfdaemon/);
    assert.match(lacks('kraken', { binaries }), /has no program kraken-agent, .*redis-server/);
  });

  it('lack nothing if the programs are there', async () => {
    await using dir = await TempDir.create('binaries');
    for (const name of ['spegel', 'manager', 'scheduler', 'dfdaemon', 'redis-server']) {
      await writeFile(dir.join(name), '');
      await chmod(dir.join(name), 0o755);
    }
    const binaries = { spegel: dir.join('spegel'), dragonfly: dir.path };
    assert.equal(lacks('spegel', { runtime: 'containerd', binaries }), '');
    const database = '/usr/sbin/mariadbd'; // of this machine
    const missing = existsSync(database)
      ? ''
      : `${database} is needed: its manager keeps what it knows there`;
    assert.equal(lacks('dragonfly', { binaries }), missing);
    assert.match(lacks('dragonfly', { binaries, loopback: true }), /--loopback/);
    assert.match(lacks('spegel', { binaries }), /--runtime containerd/);
  });

  it('spegel: starts one beside each containerd, bootstrapped by a name', () => {
    const containerd = { socket: '/n/containerd.sock', content: '/n/content' };
    const { command, args } = spegelCommand('/opt/spegel', {
      containerd,
      data: '/n/spegel',
    });
    assert.equal(command, '/opt/spegel');
    assert.deepEqual(args, [
      'registry',
      '--registry-addr=:5000',
      '--router-addr=:5001',
      '--metrics-addr=:9090',
      '--containerd-sock=/n/containerd.sock',
      '--containerd-namespace=k8s.io',
      '--containerd-content-path=/n/content',
      '--data-dir=/n/spegel',
      '--bootstrap-kind=dns',
      '--dns-bootstrap-domain=spegel-bootstrap',
    ]);
    assert.equal(
      bootstrapHosts(['10.0.0.1', '10.0.0.2', '10.0.0.3', '10.0.0.4']),
      '10.0.0.1 spegel-bootstrap\n10.0.0.2 spegel-bootstrap\n10.0.0.3 spegel-bootstrap\n',
    );
  });

  it('spegel: refuses a containerd that does not tell it of new content', () => {
    for (const version of ['1.6.20', '2.0.5', 'unknown']) {
      assert.throws(() => checkAnnounces(version), new RegExp(`containerd ${version} .* 2\\.1`));
    }
    for (const version of ['2.1.0', '2.10.1', '3.0']) checkAnnounces(version);
  });

  it('dragonfly: starts a database, redis, manager and scheduler, and daemons that mirror the registry', () => {
    const central = centralCommands('/opt/d7y', { folder: '/tmp/c', address: '10.0.0.9' });
    assert.deepEqual(
      Object.values(central).map(({ command, port }) => [command, port]),
      [
        ['sh', 3306],
        ['/opt/d7y/redis-server', 6379],
        ['/opt/d7y/manager', 65_003],
        ['/opt/d7y/scheduler', 8002],
      ],
    );
    assert.match(
      central.database.args[1] ?? '',
      /^mariadb-install-db .*--datadir=\/tmp\/c\/mariadb\/data .*&& exec "\$@"$/,
    );
    assert.equal(central.database.args[3], '/usr/sbin/mariadbd');
    const manager = file(central.manager, '/tmp/c/manager/manager.yaml') as Record<string, object>;
    assert.deepEqual(manager['database'], {
      type: 'mysql',
      mysql: {
        user: 'dragonfly',
        password: 'dragonfly',
        host: '10.0.0.9',
        port: 3306,
        dbname: 'manager',
        migrate: true,
      },
      redis: { addrs: ['10.0.0.9:6379'], password: 'dragonfly', db: 0, brokerDB: 1, backendDB: 2 },
    });
    const scheduler = file(central.scheduler, '/tmp/c/scheduler/scheduler.yaml') as Record<string, object>;
    assert.deepEqual(scheduler['manager'], { addr: '10.0.0.9:65003', schedulerClusterID: 1 });
    const node = dfdaemonCommand('/opt/d7y', {
      folder: '/tmp/n',
      address: '10.0.0.2',
      name: 'node-1',
      central: '10.0.0.9',
      registry: 'http://10.0.0.5:5000',
      isSeed: false,
    });
    assert.deepEqual(node.args, ['--config', '/tmp/n/dfdaemon.yaml', '--log-dir', '/tmp/n/log']);
    const config = file(node, '/tmp/n/dfdaemon.yaml') as Record<string, Record<string, unknown>>;
    assert.deepEqual(config['manager'], { addr: 'http://10.0.0.9:65003' });
    assert.deepEqual(config['proxy']?.['registryMirror'], { addr: 'http://10.0.0.5:5000' });
    assert.deepEqual(config['seedPeer'], { enable: false, type: 'super' });
    assert.deepEqual(config['host'], { ip: '10.0.0.2', hostname: 'node-1' });
  });

  it('kraken: starts redis, origin, tracker and build-index in this order, then agents', () => {
    const herd = herdCommands('/opt/kraken', {
      folder: '/tmp/h',
      address: '10.0.0.9',
      registry: '10.0.0.5:5000',
    });
    assert.deepEqual(
      herd.map(({ command }) => command),
      ['redis-server', 'kraken-origin', 'kraken-tracker', 'kraken-build-index'].map(
        (name) => `/opt/kraken/${name}`,
      ),
    );
    const origin = file(herd[1] ?? {}, '/tmp/h/origin/weir-bench.yaml') as Record<string, unknown>;
    assert.equal(origin['extends'], '/opt/kraken/config/origin/base.yaml');
    assert.match(JSON.stringify(origin['backends']), /"registry_blob":\{"address":"10\.0\.0\.5:5000"/);
    assert.deepEqual(origin['cluster'], { static: ['10.0.0.9:15002'] });
    const agent = agentCommand('/opt/kraken', { folder: '/tmp/a', address: '10.0.0.2', herd: '10.0.0.9' });
    assert.deepEqual(agent.args, [
      '-config=/tmp/a/weir-bench.yaml',
      '-peer-ip=10.0.0.2',
      '-peer-port=16001',
      '-agent-server-port=16002',
      '-agent-registry-port=16000',
    ]);
    assert.deepEqual(agent.ownFolders, ['/tmp/nginx', '/var/log/nginx']);
    const config = file(agent, '/tmp/a/weir-bench.yaml') as Record<string, unknown>;
    assert.deepEqual(config['tracker'], { hosts: { static: ['10.0.0.9:15003'] } });
    assert.deepEqual(config['build_index'], { hosts: { static: ['10.0.0.9:15004'] } });
  });
});
