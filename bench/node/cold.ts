/** Cold pulls: an image through an empty node, against the same image from the registry itself. */
import { GIB } from '../../src/util/clock.ts';
import type { Registry } from '../../test/support/registry.ts';
import { cpuSeconds } from '../support/process-usage.ts';
import { pair, spread, type Pair, type Spread } from '../../test/simulator/stats.ts';
import { imageReference } from './content.ts';
import { pull } from './pull.ts';
import { startNode, type Scene } from './scene.ts';
import { LINKS, ShapedRegistry, type Limits } from './shaped-network.ts';

export interface ColdFigures {
  readonly setup: string;
  readonly limits?: Limits;
  readonly seconds: Pair;
  /** CPU seconds of the node per GiB. */
  readonly nodeCpu: Spread;
}

export interface ColdReport {
  readonly setups: readonly ColdFigures[];
  /** Measurements that this machine does not allow, and the reason. */
  readonly leftOut: readonly string[];
}

export async function measureCold(scene: Scene): Promise<ColdReport> {
  const setups = [await measureSetup('loopback, no network is the bound', scene.registry, scene)];
  const leftOut: string[] = [];
  for (const link of LINKS) {
    const shaped = `registry behind a link of ${link.name}`;
    if (process.getuid?.() !== 0) {
      leftOut.push(`${shaped}: making a network namespace takes root`);
      continue;
    }
    await using network = await ShapedRegistry.start(scene.registry.storage, link);
    const { limits } = link;
    const figures = await measureSetup(shaped, network.registry, scene);
    setups.push(limits === undefined ? figures : { ...figures, limits });
  }
  return { setups, leftOut };
}

async function measureSetup(setup: string, registry: Registry, scene: Scene): Promise<ColdFigures> {
  const { repeat, say } = scene;
  const direct: number[] = [];
  const weir: number[] = [];
  const cpu: number[] = [];
  // The first turn is not counted: it warms up code, caches and the machine's memory.
  for (let turn = 0; turn <= repeat; turn++) {
    const [alone, through] = await takeTurn(registry, scene);
    const note = `${alone.toFixed(2)} s direct, ${through.seconds.toFixed(2)} s through the mirror`;
    say(`cold pull, ${setup}: ${note}${turn === 0 ? ' (not counted)' : ''}`);
    if (turn === 0) continue;
    direct.push(alone);
    weir.push(through.seconds);
    cpu.push(through.cpu);
  }
  return { setup, seconds: pair(direct, weir), nodeCpu: spread(cpu) };
}

async function takeTurn(
  registry: Registry,
  { program, content, scratch, signal }: Scene,
): Promise<[direct: number, through: { readonly seconds: number; readonly cpu: number }]> {
  const image = imageReference(registry.host, content.image);
  await scratch.settle();
  const direct = await pull(image, { source: 'registry', signal });
  await using node = await startNode(program, registry);
  await scratch.settle();
  const before = await cpuSeconds(node.pid);
  const through = await pull(image, { node, source: 'upstream', signal });
  const cpu = ((await cpuSeconds(node.pid)) - before) / (content.image.bytes / GIB);
  return [direct.seconds, { seconds: through.seconds, cpu }];
}
