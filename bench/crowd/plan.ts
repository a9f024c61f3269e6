/** The plan of a turn: starts, slow links, deaths. The same seed gives the same plan. Pure. */
import { SECOND } from '../../src/util/clock.ts';
import type { CrowdSettings } from './options.ts';
import { SeededRandom } from '../../test/simulator/random.ts';

/** Rate of a slow node's link, as a share of the others'. */
export const SLOWNESS = 10;

/** A node that is to die does so within this part of the least time of a pull. */
const DEATH_FROM = 0.1;
const DEATH_UNTIL = 0.9;

const BITS = 8;

export interface NodePlan {
  readonly name: string;
  /** Empty if there is only one zone. */
  readonly zone: string;
  /** Nodes of one wave begin when those of the wave before have ended. */
  readonly wave: number;
  /** Milliseconds from its wave's start. */
  readonly delay: number;
  readonly isSlow: boolean;
  /** Milliseconds from its own start to its death. */
  readonly dies: number | undefined;
}

export function planNodes(settings: CrowdSettings, imageBytes: number, seed: number): readonly NodePlan[] {
  const { nodes, start, zones, kill, slow, link } = settings;
  const random = new SeededRandom(seed);
  const order = random.shuffled(Array.from({ length: nodes }, (_, index) => index));
  const dying = new Set(order.slice(0, Math.round(nodes * kill)));
  const slowed = new Set(order.slice(dying.size, dying.size + Math.round(nodes * slow)));
  const shortest = secondsFor(imageBytes, link.bitsPerSecond) * SECOND;
  const perWave = start.kind === 'rolling' ? Math.max(1, Math.round(nodes * start.share)) : nodes;
  return Array.from({ length: nodes }, (_, index) => {
    const death = shortest * (DEATH_FROM + (DEATH_UNTIL - DEATH_FROM) * random.next());
    const jitter = start.kind === 'jitter' ? start.within * random.next() : 0;
    return {
      name: `node-${index + 1}`,
      zone: zones > 1 ? `zone-${(index % zones) + 1}` : '',
      wave: Math.floor(index / perWave),
      delay: jitter,
      isSlow: slowed.has(index),
      dies: dying.has(index) ? death : undefined,
    };
  });
}

/**
 * The least seconds in which `bytes` can reach all of these nodes: max(F/U, F/b) from a common start. A node that
 * begins later needs its own link's time from then on. A further wave begins when the one before has ended.
 * Nodes that are slow, or die, do not count.
 */
export function lowerBound(settings: CrowdSettings, bytes: number, plan: readonly NodePlan[]): number {
  const link = secondsFor(bytes, settings.link.bitsPerSecond);
  const registry = secondsFor(bytes, settings.registry.bitsPerSecond);
  const waves = Math.max(...plan.map(({ wave }) => wave));
  const latest = Math.max(0, ...plan.filter((node) => isWaitedFor(node)).map(({ delay }) => delay / SECOND));
  return Math.max(registry, latest + link) + waves * link;
}

/** Whether the node counts in the makespan. */
export function isWaitedFor({ isSlow, dies }: NodePlan): boolean {
  return !isSlow && dies === undefined;
}

function secondsFor(bytes: number, bitsPerSecond: number): number {
  return (bytes * BITS) / bitsPerSecond;
}
