/**
 * `kraken` (https://github.com/uber/kraken): `--kraken-bin-dir DIR` with `kraken-agent`, `kraken-origin`,
 * `kraken-tracker`, `kraken-build-index` and `redis-server`, and with the project's folder `config` beside them, whose
 * base.yaml files are extended; /usr/sbin/nginx must be there. One host behind the link of a node runs redis, origin,
 * tracker and build-index, as the project's development cluster does (examples/devcluster), with the registry as
 * read-only backend; each node runs an agent, whose registry its runtime asks. Run with version 0.1.4.
 */
import { join } from 'node:path';
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
  yaml,
  type Command,
} from './programs.ts';
import type { RunningSystem, System } from './system.ts';

const BINARIES = ['kraken-agent', 'kraken-origin', 'kraken-tracker', 'kraken-build-index', 'redis-server'];
const REDIS_PORT = 14_001;
const ORIGIN_PEER_PORT = 15_001;
const ORIGIN_PORT = 15_002;
const TRACKER_PORT = 15_003;
const BUILD_INDEX_PORT = 15_004;
const AGENT_REGISTRY_PORT = 16_000;
const AGENT_PEER_PORT = 16_001;
const AGENT_PORT = 16_002;
const NGINX = '/usr/sbin/nginx';
/** Folders in which each part writes the configuration of its nginx, and in which nginx logs. */
const NGINX_FOLDERS = ['/tmp/nginx', '/var/log/nginx'];
const PLAIN = { client: { disabled: true }, server: { disabled: true } };

type Part = 'agent' | 'origin' | 'tracker' | 'build-index';

/** The central programs, in the order in which they must start. */
export function herdCommands(
  binaries: string,
  wish: { readonly folder: string; readonly address: string; readonly registry: string },
): readonly Command[] {
  const { folder, address, registry } = wish;
  const backend = (kind: string): object => ({
    backends: [{ namespace: '.*', backend: { [kind]: { address: registry, security: { tls: PLAIN } } } }],
  });
  const origin = { hosts: { static: [`${address}:${ORIGIN_PORT}`] } };
  const index = { hosts: { static: [`${address}:${BUILD_INDEX_PORT}`] } };
  const part = (name: Part, port: number, args: readonly string[], config: object): Command =>
    krakenCommand(binaries, join(folder, name), name, { port, args, config });
  return [
    {
      command: join(binaries, 'redis-server'),
      args: ['--port', String(REDIS_PORT), '--bind', address, '--protected-mode', 'no', '--save', ''],
      port: REDIS_PORT,
    },
    part(
      'origin',
      ORIGIN_PORT,
      [
        `-blobserver-hostname=${address}`,
        `-blobserver-port=${ORIGIN_PORT}`,
        `-peer-ip=${address}`,
        `-peer-port=${ORIGIN_PEER_PORT}`,
      ],
      {
        ...backend('registry_blob'),
        cluster: origin.hosts,
        localdb: { source: join(folder, 'origin', 'origin.db') },
        castore: { upload_dir: join(folder, 'origin/upload'), cache_dir: join(folder, 'origin/cache') },
        blobserver: { listener: { net: 'unix', addr: join(folder, 'origin.sock') } },
      },
    ),
    part('tracker', TRACKER_PORT, [`-port=${TRACKER_PORT}`], {
      peerstore: { redis: { addr: `${address}:${REDIS_PORT}` } },
      origin,
      trackerserver: {
        announce_interval: '3s',
        listener: { net: 'unix', addr: join(folder, 'tracker.sock') },
      },
    }),
    part('build-index', BUILD_INDEX_PORT, [`-port=${BUILD_INDEX_PORT}`], {
      ...backend('registry_tag'),
      cluster: index,
      origin,
      remotes: {},
      localdb: { source: join(folder, 'build-index', 'index.db') },
      store: { upload_dir: join(folder, 'build-index/upload'), cache_dir: join(folder, 'build-index/cache') },
      tagserver: { listener: { net: 'unix', addr: join(folder, 'build-index.sock') } },
      tag_types: [{ namespace: '.*', type: 'docker', root: 'tags' }],
    }),
  ];
}

export function agentCommand(
  binaries: string,
  wish: { readonly folder: string; readonly address: string; readonly herd: string },
): Command {
  const { folder, address, herd } = wish;
  return krakenCommand(binaries, folder, 'agent', {
    port: AGENT_REGISTRY_PORT,
    args: [
      `-peer-ip=${address}`,
      `-peer-port=${AGENT_PEER_PORT}`,
      `-agent-server-port=${AGENT_PORT}`,
      `-agent-registry-port=${AGENT_REGISTRY_PORT}`,
    ],
    config: {
      tracker: { hosts: { static: [`${herd}:${TRACKER_PORT}`] } },
      build_index: { hosts: { static: [`${herd}:${BUILD_INDEX_PORT}`] } },
      registry: { docker: { http: { net: 'unix', addr: join(folder, 'registry.sock') } } },
      store: { download_dir: join(folder, 'download'), cache_dir: join(folder, 'cache') },
      scheduler: { torrentlog: { path: join(folder, 'torrent.log') } },
      allowed_cidrs: ['0.0.0.0/0'], // the bench stands in for the runtime, from another address
    },
  });
}

function krakenCommand(
  binaries: string,
  folder: string,
  part: Part,
  wish: { readonly port: number; readonly args: readonly string[]; readonly config: object },
): Command {
  const config = {
    extends: join(binaries, 'config', part, 'base.yaml'),
    zap: { outputPaths: ['stdout'], errorOutputPaths: ['stdout'] },
    tls: PLAIN,
    nginx: { cache_dir: join(folder, 'nginx'), log_dir: join(folder, 'nginx-log') },
    ...wish.config,
  };
  const path = join(folder, 'weir-bench.yaml');
  return {
    command: join(binaries, `kraken-${part}`),
    args: [`-config=${path}`, ...wish.args],
    files: { [path]: yaml(config) },
    folders: [join(folder, 'nginx'), join(folder, 'nginx-log')],
    ownFolders: NGINX_FOLDERS,
    port: wish.port,
  };
}

function lacks({ loopback, binaries }: CrowdSettings): string | undefined {
  if (loopback) return FIXED_PORTS;
  const hint = `a folder with its programs ${BINARIES.join(', ')}, and its folder config`;
  const missing = lacksBinaries('--kraken-bin-dir', binaries.kraken, BINARIES, hint);
  if (missing !== undefined) return missing;
  return isProgram(NGINX) ? undefined : `${NGINX} is needed: each of its parts starts one`;
}

async function start(scene: Scene, members: readonly Member[]): Promise<RunningSystem> {
  const { network, settings, registry } = scene;
  await using stack = new AsyncDisposableStack();
  const dir = stack.use(await TempDir.create('kraken'));
  const binaries = settings.binaries.kraken ?? '';
  const host = await network.addHost(settings.link);
  const herd = { folder: dir.join('herd'), address: host.address, registry: registry.host };
  const central = [];
  for (const command of herdCommands(binaries, herd)) {
    central.push(stack.use(await startProgram(host, command)));
  }
  const nodes = await startOnNodes(scene, members, stack, ({ place, plan }) =>
    agentCommand(binaries, { folder: dir.join(plan.name), address: place.address, herd: host.address }),
  );
  const mirrors = mirrorsAt(members, AGENT_REGISTRY_PORT);
  return new ProgramSystem({ versions: {}, nodes, central, mirrors }, stack.move());
}

export const kraken: System = { name: 'kraken', untold: 'peers', lacks, start };
