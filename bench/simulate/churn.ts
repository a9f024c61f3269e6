/**
 * `bench churn` in virtual time: nodes leave and join, pull images by Zipf's law, and have a quota for their stores. A
 * verdict says whether anything keeps growing. The settings are those of the real one (bench/churn/options.ts).
 */
import { SECOND } from '../../src/util/clock.ts';
import type { Digest } from '../../src/oci/digest.ts';
import { stayers, type ChurnSettings } from '../churn/options.ts';
import { judge, trendOf, type Sample, type Trend } from '../churn/trend.ts';
import { Zipf } from '../churn/zipf.ts';
import type { Failure } from '../report/result.ts';
import type { SimulatedNode } from '../../test/simulator/simulated-node.ts';
import { namedSwarm } from '../../test/simulator/names.ts';
import { World, type WorldOptions } from '../../test/simulator/world.ts';

/** Measured on the nodes that never leave: a leak of the policy would show here. */
export const MEASURES = ['remembered', 'connections', 'store'] as const;
export type Measure = (typeof MEASURES)[number];

/** Measurements in a run; a trend compares those of its second half. */
const SAMPLES = 400;
/** Of the nodes that leave; the others die. */
const POLITE = 0.5;

export interface SimulatedChurn {
  /** Seconds of each pull that arrived. */
  readonly pulls: readonly number[];
  /** Bytes of the layers that were pulled, without those that were there before. */
  readonly pulledBytes: number;
  /** Pulls that ended because their node left. */
  readonly cut: number;
  readonly leaves: number;
  readonly kills: number;
  readonly failures: readonly Failure[];
  readonly registryBytes: number;
  readonly registryRequests: number;
  /** Means over the nodes that never leave. */
  readonly series: Readonly<Record<Measure, readonly Sample[]>>;
  readonly trends: Readonly<Record<Measure, Trend>>;
}

export function simulateChurn(
  settings: ChurnSettings,
  network: Omit<WorldOptions, 'nodes' | 'seed'>,
): SimulatedChurn {
  const world = new World({ ...network, nodes: settings.nodes, seed: settings.seed });
  const life = new Life(world, settings);
  const { series } = life;
  world.time.run(() => false, settings.for);
  const { registry } = world;
  const trends = {
    remembered: trendOf(series.remembered),
    connections: trendOf(series.connections),
    store: trendOf(series.store),
  };
  const { pulls, pulledBytes, cut, leaves, kills, failures } = life;
  const [registryBytes, registryRequests] = [registry.bytes, registry.requests];
  return {
    pulls,
    pulledBytes,
    cut,
    leaves,
    kills,
    failures,
    registryBytes,
    registryRequests,
    series,
    trends,
  };
}

/** One line that says whether anything keeps growing. */
export function verdictOf({ trends }: Pick<SimulatedChurn, 'trends'>): string {
  const { growing, unknown } = judge(MEASURES, trends);
  if (growing.length > 0) {
    const told = growing.map((measure) => `${measure} (${Math.round(100 * trends[measure].growth)} %)`);
    return `verdict: keeps growing over the second half: ${told.join(', ')}`;
  }
  if (unknown.length > 0) return `verdict: none, the run was too short: ${unknown.join(', ')}`;
  return 'verdict: what is remembered, connections and stores do not keep growing';
}

class Life {
  readonly pulls: number[] = [];
  readonly failures: Failure[] = [];
  readonly series: Record<Measure, Sample[]> = { remembered: [], connections: [], store: [] };
  pulledBytes = 0;
  cut = 0;
  leaves = 0;
  kills = 0;
  readonly #world: World;
  readonly #settings: ChurnSettings;
  readonly #zipf: Zipf;
  /** The nodes that pull, and when each began: a node that left meanwhile has another beginning, or none. */
  readonly #pulling: Map<SimulatedNode, number> = new Map();

  constructor(world: World, settings: ChurnSettings) {
    this.#world = world;
    this.#settings = settings;
    this.#zipf = new Zipf(settings.images, settings.zipf);
    const staying = stayers(settings);
    world.nodes.forEach((node, index) => {
      world.join(node);
      this.#pullLater(node);
      if (index >= staying) this.#leaveLater(node);
    });
    this.#sampleLater(world.nodes.slice(0, staying));
  }

  /** From half to one and a half times `mean`. */
  #after(mean: number, run: () => void): void {
    this.#world.time.post(mean * (0.5 + this.#world.random()), run);
  }

  #leaveLater(node: SimulatedNode): void {
    const { stay, away } = this.#settings;
    this.#after(stay, () => {
      if (this.#pulling.delete(node)) this.cut++;
      this.leaves++;
      if (this.#world.random() < POLITE) this.#world.leave(node);
      else {
        this.kills++;
        this.#world.kill(node);
      }
      this.#after(away, () => {
        this.#world.comeBack(node);
        this.#pullLater(node);
        this.#leaveLater(node);
      });
    });
  }

  #pullLater(node: SimulatedNode): void {
    const { swarms } = node;
    this.#after(this.#settings.pullEvery, () => {
      if (node.isAlive && node.swarms === swarms) this.#pull(node);
    });
  }

  #pull(node: SimulatedNode): void {
    const { time, random } = this.#world;
    const image = this.#zipf.pick(random());
    const began = time.now;
    this.#pulling.set(node, began);
    let left = this.#settings.layers.length;
    const over = (): void => {
      if (this.#pulling.get(node) !== began || --left > 0) return;
      this.#pulling.delete(node);
      const [error] = node.failed.values();
      node.failed.clear();
      if (error === undefined) this.pulls.push((time.now - began) / SECOND);
      else this.failures.push({ node: node.member.name, reason: `${error.code}: ${error.message}` });
      this.#pullLater(node);
    };
    this.#settings.layers.forEach((size, layer) => this.#layer(node, `${image} ${layer}`, size, over));
  }

  #layer(node: SimulatedNode, name: string, size: number, over: () => void): void {
    const swarm = namedSwarm(`layer ${name}`);
    const { digest } = swarm;
    if (node.kept.delete(digest)) {
      node.kept.set(digest, size); // the last used is the last to go
      this.#world.time.post(0, over);
      return;
    }
    this.#world.pull(node, swarm, size, () => {
      this.pulledBytes += size;
      this.#evict(node);
      over();
    });
  }

  #evict({ kept }: SimulatedNode): void {
    let total = storeOf(kept);
    for (const [digest, size] of kept) {
      if (total <= this.#settings.quota) return;
      kept.delete(digest);
      total -= size;
    }
  }

  #sampleLater(watched: readonly SimulatedNode[]): void {
    const { time } = this.#world;
    time.post(this.#settings.for / SAMPLES, () => {
      const sample = (measure: Measure, of: (node: SimulatedNode) => number): void => {
        const total = watched.reduce((sum, node) => sum + of(node), 0);
        this.series[measure].push([time.now / SECOND, total / watched.length]);
      };
      sample('remembered', ({ swarms }) => swarms.remembered);
      sample('connections', ({ connections }) => connections.count(time.now));
      sample('store', ({ kept }) => storeOf(kept));
      this.#sampleLater(watched);
    });
  }
}

/** Bytes. */
function storeOf(kept: ReadonlyMap<Digest, number>): number {
  return kept.values().reduce((sum, size) => sum + size, 0);
}
