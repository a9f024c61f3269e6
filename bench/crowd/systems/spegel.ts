/**
 * `spegel` (https://spegel.dev): `--spegel-bin PATH`. On each node one `spegel registry` beside the node's containerd,
 * as its Helm chart starts it, whose content it shares; so it needs `--runtime containerd`. The first nodes are found by
 * a name, as the chart's headless Service has it: each node's /etc/hosts lists three of them. What the chart's
 * `spegel configuration` writes, a hosts.toml with the node's own spegel as mirror, is written by the runtime.
 *
 * Written after the project's own sources (main.go, charts/spegel); it was never run with a real binary.
 */
import { runOk } from '../../../test/support/program.ts';
import { TempDir } from '../../../test/support/temp.ts';
import type { CrowdSettings } from '../options.ts';
import type { ContainerdPlaces, RunningRuntime } from '../runtimes/runtime.ts';
import type { Member, Scene } from '../scene.ts';
import {
  FIXED_PORTS,
  lacksBinary,
  mirrorsAt,
  ProgramSystem,
  startOnNodes,
  type Command,
} from './programs.ts';
import type { RunningSystem, System } from './system.ts';

const REGISTRY_PORT = 5000;
const ROUTER_PORT = 5001;
const METRICS_PORT = 9090;
/** Spegel asks no more addresses of the name than these. */
const BOOTSTRAP_NODES = 3;
const BOOTSTRAP_NAME = 'spegel-bootstrap';

export function spegelCommand(
  binary: string,
  wish: {
    readonly containerd: ContainerdPlaces;
    /** URL of the registry that is mirrored. */
    readonly registry: string;
    readonly data: string;
  },
): Command {
  const { containerd, registry, data } = wish;
  return {
    command: binary,
    args: [
      'registry',
      `--registry-addr=:${REGISTRY_PORT}`,
      `--router-addr=:${ROUTER_PORT}`,
      `--metrics-addr=:${METRICS_PORT}`,
      `--containerd-sock=${containerd.socket}`,
      '--containerd-namespace=k8s.io',
      `--containerd-content-path=${containerd.content}`,
      `--containerd-registry-config-path=${containerd.hosts}`,
      `--data-dir=${data}`,
      '--bootstrap-kind=dns',
      `--dns-bootstrap-domain=${BOOTSTRAP_NAME}`,
      '--mirrored-registries',
      registry,
    ],
    folders: [data],
    port: REGISTRY_PORT,
  };
}

/** Lines of /etc/hosts. */
export function bootstrapHosts(addresses: readonly string[]): string {
  return addresses
    .slice(0, BOOTSTRAP_NODES)
    .map((address) => `${address} ${BOOTSTRAP_NAME}\n`)
    .join('');
}

function lacks({ runtime, loopback, binaries }: CrowdSettings): string | undefined {
  if (runtime !== 'containerd') return 'it shares what containerd holds: it needs --runtime containerd';
  if (loopback) return FIXED_PORTS;
  return lacksBinary('--spegel-bin', binaries.spegel, 'the path of the program spegel');
}

async function start(
  scene: Scene,
  members: readonly Member[],
  runtime: RunningRuntime,
): Promise<RunningSystem> {
  await using stack = new AsyncDisposableStack();
  const dir = stack.use(await TempDir.create('spegel'));
  const binary = scene.settings.binaries.spegel ?? '';
  const hosts = bootstrapHosts(members.map(({ place }) => place.address));
  const nodes = await startOnNodes(scene, members, stack, async ({ place, plan }, index) => {
    const containerd = runtime.containerd(index);
    if (containerd === undefined) throw new Error(`${plan.name} has no containerd`);
    await runOk('tee', ['--append', '/etc/hosts'], { within: place.within, input: hosts });
    return spegelCommand(binary, { containerd, registry: scene.registry.url, data: dir.join(plan.name) });
  });
  const mirrors = mirrorsAt(members, REGISTRY_PORT);
  return new ProgramSystem({ versions: {}, nodes, central: [], mirrors }, stack.move());
}

export const spegel: System = { name: 'spegel', untold: 'peers', lacks, start };
