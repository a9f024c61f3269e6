/**
 * `bench crowd`: many nodes pull one image at once. README.md says how each figure is measured.
 *
 * The network, the registry and the image live as long as the run; each turn starts every system anew, one after the
 * other, so that a slow minute of the machine falls on all of them.
 */
import { KIB, MIB } from '../../src/util/clock.ts';
import { formatBytes } from '../../src/cli/client/format.ts';
import { buildImage } from '../../test/support/images.ts';
import { push } from '../../test/support/push.ts';
import { Registry } from '../../test/support/registry.ts';
import { findProgram } from '../../test/support/requires.ts';
import { writeReport } from '../report/report.ts';
import { describeMachine } from '../support/machine.ts';
import { Scratch } from '../support/scratch.ts';
import { LoopbackNetwork, ShapedNetwork, type Network } from './network.ts';
import type { CrowdSettings } from './options.ts';
import { crowdRows, reportOf, type CrowdReport } from './report.ts';
import type { CrowdResult } from './result.ts';
import type { Scene, Wares } from './scene.ts';
import { SYSTEM_OF } from './systems/choose.ts';
import { runTurn } from './turn.ts';

/** Bytes that a node's data folder takes besides the image. */
const FOLDER = 16 * MIB;
/** Copies of the image on a node: the system's, containerd's, and the unpacked one. */
const COPIES_WITH_CONTAINERD = 3;
/** Bytes of the layers of the warm-up image: several chunks each. */
const WARM_UP: readonly number[] = [512 * KIB, 384 * KIB, 256 * KIB];
const REGISTRY_PORT = 5000;
/** Programs that a shaped network needs, and their Debian packages. */
const TOOLS = { ip: 'iproute2', tc: 'iproute2', nft: 'nftables', nsenter: 'util-linux', sysctl: 'procps' };

export interface CrowdOptions {
  readonly settings: CrowdSettings;
  /** Folder for the report. */
  readonly out: string;
  readonly say: (message: string) => void;
  readonly signal: AbortSignal;
}

/** @throws Error that names what this machine lacks */
export async function runCrowd({ settings, out, say, signal }: CrowdOptions): Promise<CrowdReport> {
  const systems = settings.systems.map((name) => SYSTEM_OF[name]);
  const lacks = missing(settings);
  if (lacks.length > 0) throw new Error(lacks.join('\n'));
  const startedAt = new Date().toISOString();
  const registryProgram = findProgram('docker-registry') as string;
  const machine = await describeMachine({ 'docker-registry': [registryProgram, '--version'] });
  const imageBytes = settings.layers.reduce((sum, size) => sum + size, 0);
  const copies = (settings.runtime === 'containerd' ? COPIES_WITH_CONTAINERD : 1) * (1 + settings.pulled);
  await using scratch = await Scratch.create((settings.nodes + 3) * (copies * imageBytes + FOLDER));
  say(`making an image of ${formatBytes(imageBytes)}, and ${settings.nodes} hosts`);
  await using network = await makeNetwork(settings);
  await using scene = await makeScene(network, scratch, { settings, out, say, signal });
  const results: CrowdResult[] = [];
  for (let turn = 1; turn <= settings.repeat; turn++) {
    for (const system of systems) {
      const result = await runTurn(scene, system, turn);
      results.push(result);
      say(summaryOf(result));
      await scratch.settle();
    }
  }
  const report = reportOf(startedAt, machine, settings, results);
  const files = await writeReport(out, report, crowdRows(results));
  say(`written: ${files.join(', ')}`);
  return report;
}

async function makeNetwork({ nodes, link, loss, loopback }: CrowdSettings): Promise<Network> {
  if (loopback) return new LoopbackNetwork(nodes);
  const network = await ShapedNetwork.create(nodes, link);
  if (loss > 0) await network.lose(Math.round(loss * 1000));
  return network;
}

async function makeScene(
  network: Network,
  scratch: Scratch,
  options: CrowdOptions,
): Promise<Scene & AsyncDisposable> {
  const { settings } = options;
  const storage = scratch.join('storage');
  const { layers, seed, pulled } = settings;
  const [wares, small, ...large] = await stock(storage, [
    { repository: 'bench/crowd', seed: `bench crowd ${seed}`, layers },
    { repository: 'bench/warm-up', seed: 'bench crowd, warm-up', layers: WARM_UP },
    ...Array.from({ length: pulled }, (_, index) => ({
      repository: `bench/before-${index + 1}`,
      seed: `bench crowd ${seed}, before ${index + 1}`,
      layers,
    })),
  ]);
  if (wares === undefined || small === undefined) throw new Error('there are at least two images');
  const place = await network.addHost(settings.registry);
  const listen = `${place.address}:${network.isShaped ? REGISTRY_PORT : 0}`;
  const registry = await Registry.start({ storage, listen, within: place.within });
  return {
    ...options,
    network,
    registry,
    registryPlace: place,
    wares,
    warmUp: [small, ...large],
    imageBytes: wares.image.blobs.reduce((sum, { size }) => sum + size, 0),
    [Symbol.asyncDispose]: () => registry[Symbol.asyncDispose](),
  };
}

/** Puts images into the folder of a registry. The crowd's registry serves the same folder, behind its link. */
async function stock(
  storage: string,
  images: readonly {
    readonly repository: string;
    readonly seed: string;
    readonly layers: readonly number[];
  }[],
): Promise<readonly Wares[]> {
  await using pantry = await Registry.start({ storage });
  const stocked: Wares[] = [];
  for (const { repository, seed, layers } of images) {
    const image = await buildImage({ seed, layers, format: 'docker' });
    await push(pantry.url, repository, 'v1', image);
    stocked.push({ image, path: `${repository}:v1` });
  }
  return stocked;
}

/** Programs that this machine lacks, for people. */
function missing(settings: CrowdSettings): readonly string[] {
  const { loopback, runtime, systems } = settings;
  const programs = {
    'docker-registry': 'docker-registry',
    ...(loopback ? {} : TOOLS),
    ...(runtime === 'containerd' ? { containerd: 'containerd' } : {}),
  };
  const lines = Object.entries(programs)
    .filter(([program]) => findProgram(program) === undefined)
    .map(([program, owner]) => `${program} is missing; on Debian: sudo apt-get install ${owner}`);
  for (const name of systems) {
    const problem = SYSTEM_OF[name].lacks?.(settings);
    if (problem !== undefined) lines.push(`--system ${name}: ${problem}`);
  }
  if (process.getuid?.() === 0) return lines;
  if (runtime === 'containerd') lines.unshift('--runtime containerd needs root: containerd unpacks layers');
  if (!loopback) {
    lines.unshift(
      'a network of shaped links needs root: run it as root, or with --loopback, which shapes nothing',
    );
  }
  return lines;
}

function summaryOf(result: CrowdResult): string {
  const { system, nodes, makespan_s, makespan_ratio, registry_ratio, failures } = result;
  const isNone = failures === nodes;
  const time = isNone
    ? 'no pull arrived'
    : `${makespan_s.toFixed(1)} s, ${makespan_ratio.toFixed(2)} × the bound`;
  return `  ${system}: ${time}; registry sent ${registry_ratio.toFixed(3)} images; ${failures} failures`;
}
