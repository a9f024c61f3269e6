/** Results that belong together: the turns of one system with one number of nodes. Pure. */
import { spread } from '../../test/simulator/stats.ts';
import type { BenchResult } from './result.ts';

export interface Group {
  /** Unique among the groups of a report. */
  readonly label: string;
  readonly system: string;
  readonly nodes: number;
  readonly turns: readonly BenchResult[];
  /** The turn whose makespan is the (lower) median: it stands for all where only one can be drawn. */
  readonly typical: BenchResult;
}

/** In the order of their first turns. */
export function groupResults(results: readonly BenchResult[]): readonly Group[] {
  const groups = new Map<string, BenchResult[]>();
  const isOneSize = new Set(results.map(({ nodes }) => nodes)).size <= 1;
  for (const result of results) {
    const label = isOneSize ? result.system : `${result.system}, ${result.nodes} nodes`;
    const turns = groups.get(label);
    if (turns === undefined) groups.set(label, [result]);
    else turns.push(result);
  }
  return [...groups].flatMap(([label, turns]) => {
    const typical = turns.toSorted((a, b) => a.makespan_s - b.makespan_s)[(turns.length - 1) >> 1];
    if (typical === undefined) return [];
    return [{ label, system: typical.system, nodes: typical.nodes, turns, typical }];
  });
}

/** The median of one figure over the turns. */
export function medianOf(group: Group, figure: (result: BenchResult) => number): number {
  return spread(group.turns.map(figure)).median;
}
