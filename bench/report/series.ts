/** What the charts draw, as numbers. Pure. */
import { MIB } from '../../src/util/clock.ts';
import type { BenchResult, NodeResult } from './result.ts';

export type Point = [x: number, y: number];

/** Corners of a line; more of them are not to be seen, and make the page heavy. */
const MAX_POINTS = 400;
/** Bars of a chart; more nodes share one. */
const MAX_BARS = 100;

/** Percent of the nodes that had all, over the seconds. */
export function completionCurve({ per_node: nodes }: BenchResult): readonly Point[] {
  const times = nodes.flatMap(({ completed_s: at }) => at ?? []).toSorted((a, b) => a - b);
  const points = times.map((at, index): Point => [at, (100 * (index + 1)) / nodes.length]);
  return thinOut([[0, 0], ...points]);
}

/** MiB that had left the registry, over the seconds. */
export function registryCurve({ registry_curve: curve }: BenchResult): readonly Point[] {
  return thinOut(curve.map(([at, bytes]): Point => [at, bytes / MIB]));
}

export interface SourceBar {
  /** The node's name, or how many nodes share the bar. */
  readonly name: string;
  /** MiB; of several nodes the mean. */
  readonly peers: number;
  readonly registry: number;
}

/** Where each node's bytes came from, those that were ready first on the left. */
export function sourceBars({ per_node: nodes }: BenchResult): readonly SourceBar[] {
  const sorted = nodes.toSorted((a, b) => (a.completed_s ?? Infinity) - (b.completed_s ?? Infinity) || 0);
  const share = Math.ceil(sorted.length / MAX_BARS);
  const bars: SourceBar[] = [];
  for (let start = 0; start < sorted.length; start += share) {
    const some = sorted.slice(start, start + share);
    const mean = (bytes: (node: NodeResult) => number): number =>
      some.reduce((sum, node) => sum + bytes(node), 0) / some.length / MIB;
    bars.push({
      name: share === 1 ? (some[0]?.node ?? '') : `nodes ${start + 1} to ${start + some.length}`,
      peers: mean(({ bytes }) => bytes.peers),
      registry: mean(({ bytes }) => bytes.registry),
    });
  }
  return bars;
}

/** Some of the points, the first and the last among them. */
function thinOut(points: readonly Point[]): readonly Point[] {
  const step = Math.ceil(points.length / MAX_POINTS);
  return points.filter((_, index) => index % step === 0 || index === points.length - 1);
}
