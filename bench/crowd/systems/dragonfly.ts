/**
 * `dragonfly` (https://d7y.io, version 2 without a manager): `--dragonfly-bin-dir DIR` with `scheduler` and `dfdaemon`.
 * One host behind the link of a node runs the scheduler and a dfdaemon as seed peer; each node runs a dfdaemon, whose
 * registry mirror (`proxy.registryMirror`) its runtime asks. Where the scheduler is, is told by a local dynconfig.yaml.
 *
 * Written after the project's own templates (deploy/docker-compose) and documentation; it was never run with real
 * binaries. That dfdaemon has the scheduler's flag --dynconfig is assumed: they name its default path alone.
 */
import { join } from 'node:path';
import { TempDir } from '../../../test/support/temp.ts';
import type { CrowdSettings } from '../options.ts';
import type { Member, Scene } from '../scene.ts';
import {
  FIXED_PORTS,
  lacksBinaries,
  mirrorsAt,
  ProgramSystem,
  startOnNodes,
  startProgram,
  versionOf,
  yaml,
  type Command,
} from './programs.ts';
import type { RunningSystem, System } from './system.ts';

const BINARIES = ['scheduler', 'dfdaemon'];
const SCHEDULER_PORT = 8002;
const UPLOAD_PORT = 4000;
const PROXY_PORT = 4001;

export function schedulerCommand(binaries: string, folder: string, address: string): Command {
  const config = {
    server: {
      advertiseIP: address,
      port: SCHEDULER_PORT,
      logDir: join(folder, 'log'),
      pluginDir: join(folder, 'plugins'),
      dataDir: join(folder, 'data'),
    },
    scheduler: { algorithm: 'default' },
    job: { enable: false }, // it would want Redis
    metrics: { enable: false },
    console: true,
  };
  const dynamic = {
    applications: [],
    seedPeerClusterConfig: { loadLimit: 2000 },
    schedulerClusterConfig: { candidateParentLimit: 3, filterParentLimit: 15 },
    schedulerClusterClientConfig: { loadLimit: 200 },
  };
  const [path, dynconfig] = [join(folder, 'scheduler.yaml'), join(folder, 'dynconfig.yaml')];
  return {
    command: join(binaries, 'scheduler'),
    args: ['--config', path, '--dynconfig', dynconfig],
    files: { [path]: yaml(config), [dynconfig]: yaml(dynamic) },
    folders: [join(folder, 'log'), join(folder, 'plugins'), join(folder, 'data')],
    port: SCHEDULER_PORT,
  };
}

export function dfdaemonCommand(
  binaries: string,
  wish: {
    readonly folder: string;
    /** Of this dfdaemon's host. */
    readonly address: string;
    readonly name: string;
    /** Of the scheduler's host. */
    readonly scheduler: string;
    /** URL of the registry. */
    readonly registry: string;
    readonly isSeed: boolean;
  },
): Command {
  const { folder, address, name, scheduler, registry, isSeed } = wish;
  const config = {
    console: true,
    host: { ip: address, hostname: name },
    server: { pluginDir: join(folder, 'plugins'), cacheDir: join(folder, 'cache') },
    download: { server: { socketPath: join(folder, 'dfdaemon.sock') } },
    upload: { server: { port: UPLOAD_PORT } },
    scheduler: { announceInterval: '10s', enableBackToSource: true },
    seedPeer: { enable: isSeed },
    storage: { dir: join(folder, 'storage'), keep: false },
    proxy: {
      server: { port: PROXY_PORT },
      rules: [{ regex: 'blobs/sha256.*' }],
      registryMirror: { addr: registry },
      disableBackToSource: false,
    },
  };
  const [path, dynconfig] = [join(folder, 'dfdaemon.yaml'), join(folder, 'dynconfig.yaml')];
  return {
    command: join(binaries, 'dfdaemon'),
    args: ['--config', path, '--dynconfig', dynconfig],
    files: {
      [path]: yaml(config),
      [dynconfig]: yaml({ scheduler: { addrs: [`${scheduler}:${SCHEDULER_PORT}`] } }),
    },
    folders: ['plugins', 'cache', 'storage'].map((each) => join(folder, each)),
    port: PROXY_PORT,
  };
}

function lacks({ loopback, binaries }: CrowdSettings): string | undefined {
  if (loopback) return FIXED_PORTS;
  const hint = 'a folder with its programs scheduler and dfdaemon';
  return lacksBinaries('--dragonfly-bin-dir', binaries.dragonfly, BINARIES, hint);
}

async function start(scene: Scene, members: readonly Member[]): Promise<RunningSystem> {
  const { network, settings, registry } = scene;
  await using stack = new AsyncDisposableStack();
  const dir = stack.use(await TempDir.create('dragonfly'));
  const binaries = settings.binaries.dragonfly ?? '';
  const host = await network.addHost(settings.link);
  const common = { scheduler: host.address, registry: registry.url };
  const scheduler = schedulerCommand(binaries, dir.join('scheduler'), host.address);
  const seed = dfdaemonCommand(binaries, {
    ...common,
    folder: dir.join('seed'),
    address: host.address,
    name: 'seed',
    isSeed: true,
  });
  const central = [stack.use(await startProgram(host, scheduler)), stack.use(await startProgram(host, seed))];
  const nodes = await startOnNodes(scene, members, stack, ({ place, plan: { name } }) =>
    dfdaemonCommand(binaries, {
      ...common,
      folder: dir.join(name),
      address: place.address,
      name,
      isSeed: false,
    }),
  );
  const mirrors = mirrorsAt(members, PROXY_PORT);
  const versions = { dfdaemon: await versionOf(join(binaries, 'dfdaemon'), '--version') };
  return new ProgramSystem({ versions, nodes, central, mirrors }, stack.move());
}

export const dragonfly: System = { name: 'dragonfly', untold: 'peers', lacks, start };
