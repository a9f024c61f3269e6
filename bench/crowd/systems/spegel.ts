/**
 * `spegel` (https://spegel.dev): `--spegel-bin PATH`. On each node one `spegel registry` beside the node's containerd,
 * as its Helm chart starts it, whose content it shares; so it needs `--runtime containerd`. The first nodes are found by
 * a name, as the chart's headless Service has it: each node's /etc/hosts lists three of them. What the chart's
 * `spegel configuration` writes, a hosts.toml with the node's own spegel as mirror, is written by the runtime.
 *
 * Run with version 0.7.3. It announces content that containerd publishes, which containerd 2.1 is the first to do; it takes
 * an image's registry from a label that has no port, so that it is told to mirror all registries, as the chart does.
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
  versionOf,
  type Command,
} from './programs.ts';
import type { RunningSystem, System } from './system.ts';

const REGISTRY_PORT = 5000;
const ROUTER_PORT = 5001;
const METRICS_PORT = 9090;
/** Spegel asks no more addresses of the name than this. */
const BOOTSTRAP_NODES = 3;
const BOOTSTRAP_NAME = 'spegel-bootstrap';
/** Version of containerd since which it publishes `/content/create`. */
const FIRST_TO_TELL = { major: 2, minor: 1 };

export function spegelCommand(
  binary: string,
  wish: {
    readonly containerd: ContainerdPlaces;
    readonly data: string;
  },
): Command {
  const { containerd, data } = wish;
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
      `--data-dir=${data}`,
      '--bootstrap-kind=dns',
      `--dns-bootstrap-domain=${BOOTSTRAP_NAME}`,
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

/** Throws if a containerd of this version does not publish new content, as Spegel could then share none. */
export function checkAnnounces(version: string): void {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (major > FIRST_TO_TELL.major || (major === FIRST_TO_TELL.major && minor >= FIRST_TO_TELL.minor)) return;
  const { major: wantedMajor, minor: wantedMinor } = FIRST_TO_TELL;
  throw new Error(
    `containerd ${version} does not tell Spegel of new content: put containerd ${wantedMajor}.${wantedMinor} or later on PATH`,
  );
}

async function start(
  scene: Scene,
  members: readonly Member[],
  runtime: RunningRuntime,
): Promise<RunningSystem> {
  checkAnnounces(runtime.versions['containerd'] ?? 'unknown');
  await using stack = new AsyncDisposableStack();
  const dir = stack.use(await TempDir.create('spegel'));
  const binary = scene.settings.binaries.spegel ?? '';
  const hosts = bootstrapHosts(members.map(({ place }) => place.address));
  const nodes = await startOnNodes(scene, members, stack, async ({ place, plan }, index) => {
    const containerd = runtime.containerd(index);
    if (containerd === undefined) throw new Error(`${plan.name} has no containerd`);
    await runOk('tee', ['--append', '/etc/hosts'], { within: place.within, input: hosts });
    return spegelCommand(binary, { containerd, data: dir.join(plan.name) });
  });
  const mirrors = mirrorsAt(members, REGISTRY_PORT);
  const versions = { spegel: await versionOf(binary, 'version') };
  return new ProgramSystem({ versions, nodes, central: [], mirrors }, stack.move());
}

export const spegel: System = { name: 'spegel', untold: 'peers', lacks, start };
