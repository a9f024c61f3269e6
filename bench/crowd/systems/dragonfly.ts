/**
 * `dragonfly` (https://d7y.io, version 2): `--dragonfly-bin-dir DIR` with `manager`, `scheduler`, `dfdaemon` and
 * `redis-server`; MariaDB (/usr/sbin/mariadbd) must be there. One host behind the link of a node runs MariaDB, redis,
 * the manager, the scheduler and a dfdaemon as seed peer, as the project's deploy/docker-compose does; each node runs a
 * dfdaemon, whose registry mirror (`proxy.registryMirror`) its runtime asks. Settings are the programs' own, but for places.
 * Run with manager and scheduler 2.4.0, and dfdaemon 1.2.0, which is written in Rust.
 */
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { MINUTE, SECOND } from '../../../src/util/clock.ts';
import type { Program } from '../../../test/support/program.ts';
import { TempDir } from '../../../test/support/temp.ts';
import type { CrowdSettings } from '../options.ts';
import type { Member, Scene } from '../scene.ts';
import {
  FIXED_PORTS,
  isProgram,
  lacksBinaries,
  mirrorsAt,
  ProgramSystem,
  startOnNodes,
  startProgram,
  versionOf,
  yaml,
  type Command,
  type Running,
} from './programs.ts';
import type { RunningSystem, System } from './system.ts';

const BINARIES = ['manager', 'scheduler', 'dfdaemon', 'redis-server'];
const MARIADB = '/usr/sbin/mariadbd';
const DATABASE_PORT = 3306;
const REDIS_PORT = 6379;
const MANAGER_PORT = 65_003;
const SCHEDULER_PORT = 8002;
const UPLOAD_PORT = 4000;
const PROXY_PORT = 4001;
/** Password of the database and of redis, which hold nothing and which only this host reaches. */
const USER = 'dragonfly';
/** Milliseconds after its start in which the scheduler has looked for seed peers: it does so once a minute. */
const LOOKED = MINUTE + 5 * SECOND;

/** The central programs, without the seed peer. */
type Central = 'database' | 'redis' | 'manager' | 'scheduler';

export function centralCommands(
  binaries: string,
  { folder, address }: { readonly folder: string; readonly address: string },
): Readonly<Record<Central, Command>> {
  const redis = { addrs: [`${address}:${REDIS_PORT}`], password: USER, brokerDB: 1, backendDB: 2 };
  return {
    database: databaseCommand(join(folder, 'mariadb'), address),
    redis: {
      command: join(binaries, 'redis-server'),
      args: ['--port', String(REDIS_PORT), '--bind', address, '--requirepass', USER, '--save', ''],
      port: REDIS_PORT,
    },
    manager: goCommand(binaries, join(folder, 'manager'), 'manager', MANAGER_PORT, (folders) => ({
      server: {
        ...folders,
        grpc: {
          advertiseIP: address,
          listenIP: address,
          port: { start: MANAGER_PORT, end: MANAGER_PORT },
        },
        rest: { addr: `${address}:8080` },
      },
      auth: { jwt: { realm: 'Dragonfly', key: 'ZHJhZ29uZmx5Cg==', timeout: '48h', maxRefresh: '48h' } },
      database: {
        type: 'mysql',
        mysql: {
          user: USER,
          password: USER,
          host: address,
          port: DATABASE_PORT,
          dbname: 'manager',
          migrate: true,
        },
        redis: { ...redis, db: 0 },
      },
    })),
    scheduler: goCommand(binaries, join(folder, 'scheduler'), 'scheduler', SCHEDULER_PORT, (folders) => ({
      server: { ...folders, advertiseIP: address, listenIP: address, port: SCHEDULER_PORT },
      database: { redis },
      manager: { addr: `${address}:${MANAGER_PORT}`, schedulerClusterID: 1 },
      seedPeer: { enable: true },
    })),
  };
}

function databaseCommand(folder: string, address: string): Command {
  const [data, init] = [join(folder, 'data'), join(folder, 'init.sql')];
  const make = `mariadb-install-db --no-defaults --user=root --datadir=${data} --skip-test-db --auth-root-authentication-method=normal`;
  const args = [
    '--no-defaults',
    '--user=root',
    `--datadir=${data}`,
    `--socket=${join(folder, 'mariadb.sock')}`,
    `--pid-file=${join(folder, 'mariadb.pid')}`,
    `--bind-address=${address}`,
    `--port=${DATABASE_PORT}`,
    `--init-file=${init}`,
  ];
  const sql = [
    'CREATE DATABASE manager;',
    `CREATE USER '${USER}'@'%' IDENTIFIED BY '${USER}';`,
    `GRANT ALL ON manager.* TO '${USER}'@'%';`,
  ];
  return {
    command: 'sh',
    args: ['-c', `${make} && exec "$@"`, 'sh', MARIADB, ...args],
    files: { [init]: `${sql.join('\n')}\n` },
    port: DATABASE_PORT,
  };
}

/** A part that is written in Go, with folders of its own. */
function goCommand(
  binaries: string,
  folder: string,
  name: string,
  port: number,
  configOf: (folders: Readonly<Record<string, string>>) => object,
): Command {
  const path = join(folder, `${name}.yaml`);
  const folders = Object.fromEntries(
    ['log', 'cache', 'plugin', 'data'].map((each) => [`${each}Dir`, join(folder, each)]),
  );
  return {
    command: join(binaries, name),
    args: ['--config', path],
    files: { [path]: yaml({ ...configOf(folders), metrics: { enable: false }, console: true }) },
    folders: Object.values(folders),
    port,
  };
}

export function dfdaemonCommand(
  binaries: string,
  wish: {
    readonly folder: string;
    /** Address of this dfdaemon's host. */
    readonly address: string;
    readonly name: string;
    /** Address of the manager's host. */
    readonly central: string;
    /** URL of the registry. */
    readonly registry: string;
    readonly isSeed: boolean;
  },
): Command {
  const { folder, address, name, central, registry, isSeed } = wish;
  const config = {
    host: { ip: address, hostname: name },
    server: { pluginDir: join(folder, 'plugins'), cacheDir: join(folder, 'cache') },
    download: { server: { socketPath: join(folder, 'dfdaemon.sock') } },
    upload: { server: { port: UPLOAD_PORT } },
    manager: { addr: `http://${central}:${MANAGER_PORT}` },
    seedPeer: { enable: isSeed, type: 'super' },
    storage: { dir: join(folder, 'storage'), keep: false },
    proxy: {
      server: { port: PROXY_PORT },
      rules: [{ regex: 'blobs/sha256.*' }],
      registryMirror: { addr: registry },
    },
  };
  const path = join(folder, 'dfdaemon.yaml');
  return {
    command: join(binaries, 'dfdaemon'),
    args: ['--config', path, '--log-dir', join(folder, 'log')],
    files: { [path]: yaml(config) },
    folders: ['plugins', 'cache', 'storage', 'log'].map((each) => join(folder, each)),
    port: PROXY_PORT,
  };
}

function lacks({ loopback, binaries }: CrowdSettings): string | undefined {
  if (loopback) return FIXED_PORTS;
  const hint = `a folder with its programs ${BINARIES.join(', ')}`;
  const missing = lacksBinaries('--dragonfly-bin-dir', binaries.dragonfly, BINARIES, hint);
  if (missing !== undefined) return missing;
  return isProgram(MARIADB) ? undefined : `${MARIADB} is needed: its manager keeps what it knows there`;
}

async function start(scene: Scene, members: readonly Member[]): Promise<RunningSystem> {
  const { network, settings, registry, signal } = scene;
  await using stack = new AsyncDisposableStack();
  const dir = stack.use(await TempDir.create('dragonfly'));
  const binaries = settings.binaries.dragonfly ?? '';
  const host = await network.addHost(settings.link);
  const common = { central: host.address, registry: registry.url };
  const seed = dfdaemonCommand(binaries, {
    ...common,
    folder: dir.join('seed'),
    address: host.address,
    name: 'seed',
    isSeed: true,
  });
  const central: Running[] = [];
  const begin = async (command: Command): Promise<Program> => {
    const running = stack.use(await startProgram(host, command));
    central.push(running);
    return running.program;
  };
  const commands = centralCommands(binaries, { folder: dir.join('central'), address: host.address });
  await begin(commands.database);
  await begin(commands.redis);
  const manager = await begin(commands.manager);
  await begin(commands.scheduler);
  const looked = delay(LOOKED, undefined, { signal });
  looked.catch(() => undefined); // it is awaited below, if nothing fails before
  // A dfdaemon ends at once if the manager knows no living scheduler.
  await manager.line(/keepalive for the first time.*SCHEDULER/);
  await begin(seed);
  const nodes = await startOnNodes(scene, members, stack, ({ place, plan: { name } }) =>
    dfdaemonCommand(binaries, {
      ...common,
      folder: dir.join(name),
      address: place.address,
      name,
      isSeed: false,
    }),
  );
  await looked;
  const mirrors = mirrorsAt(members, PROXY_PORT);
  const versions = {
    scheduler: await versionOf(join(binaries, 'scheduler'), 'version'),
    dfdaemon: await versionOf(join(binaries, 'dfdaemon'), '--version'),
  };
  return new ProgramSystem({ versions, nodes, central, mirrors }, stack.move());
}

export const dragonfly: System = {
  name: 'dragonfly',
  untold: 'peers',
  passesUserAgentOn: true,
  lacks,
  start,
};
