/** The tables of `bench simulate`, and of its churn. */
import type { Kept } from '../../bench/report/kept.ts';
import { MIB } from '../../src/util/clock.ts';
import { table } from '../markdown.ts';

/** A row for each number of nodes, columns for each kept result. */
export function simulationTable(results: readonly Kept<'simulate'>[]): string {
  const head = results.flatMap(({ settings }) => [
    `Registry ${String(settings['registry'])}: makespan, s`,
    'over the bound',
    'left the registry, images',
    'connections of the busiest',
  ]);
  return byNodes(results, head, (turn) => {
    const { makespan_s: makespan, makespan_ratio: ratio, registry_ratio: images } = turn;
    return [makespan.toFixed(2), ratio.toFixed(3), images.toFixed(3), String(turn.connections_max)];
  });
}

/** The same with cores, whose nodes are charged for CPU time: a row for each number of nodes. */
export function chargedTable(results: readonly Kept<'simulate'>[]): string {
  const head = results.flatMap(({ settings }) => [
    `${String(settings['link'])}, ${String(settings['cores'])} cores: makespan, s`,
    'over the bound',
    'CPU s per GiB',
    'main thread busy, mean (most)',
    'workers, CPU s',
  ]);
  return byNodes(results, head, (turn) => {
    const { makespan_s: makespan, makespan_ratio: ratio, cpu_s_per_gib: each, cpu } = turn;
    if (cpu === undefined || each === null) throw new Error('a simulation was not charged for CPU time');
    const share = (seconds: number): string => `${((100 * seconds) / makespan).toFixed(0)} %`;
    return [
      makespan.toFixed(2),
      ratio.toFixed(3),
      each.toFixed(2),
      `${share(cpu.main_s)} (${share(cpu.busiest_main_s)})`,
      cpu.workers_s.toFixed(2),
    ];
  });
}

/** A row for each number of nodes, with the cells of each result. */
function byNodes(
  results: readonly Kept<'simulate'>[],
  head: readonly string[],
  cells: (turn: Kept<'simulate'>['results'][number]) => readonly string[],
): string {
  const counts = [...new Set(results.flatMap((result) => result.results.map(({ nodes }) => nodes)))];
  const rows = counts.map((count) =>
    [count.toLocaleString('en')].concat(
      results.flatMap((result) => {
        const turn = result.results.find(({ nodes }) => nodes === count);
        if (turn === undefined) throw new Error(`a simulation has no ${count} nodes, beside one that has`);
        return cells(turn);
      }),
    ),
  );
  return table(['Nodes', ...head], rows, 'figures');
}

/** How the page names what is watched of the nodes that stay; the store is told in MiB. */
const WATCHED: Readonly<Record<string, string>> = {
  remembered: 'Entries remembered of others',
  connections: 'Connected members',
  store: 'Store, MiB',
};

/** One row: what happened, and of each watched quantity the first, the middle and the last mean with the verdict. */
export function churnTable({ results: [result], settings }: Kept<'churn'>): string {
  const watched = Object.keys(WATCHED).map((name) => {
    const [trend, samples] = [result.trends[name], result.series[name]];
    if (trend === undefined || samples === undefined) throw new Error(`a churn did not watch ${name}`);
    const means = samples.map(([, value]) => (name === 'store' ? value / MIB : value).toFixed(0));
    return `${means.join(', ')}: ${trend.verdict}`;
  });
  const row = [
    `${result.nodes} nodes, ${String(settings['churn'])}`,
    result.pulls.toLocaleString('en'),
    result.p99_s.toFixed(2),
    String(result.failures),
    `${result.leaves} (${result.kills})`,
    `${(100 * result.registry_ratio).toFixed(0)} %`,
    ...watched,
  ];
  const head = ['Churn', 'Pulls', 'p99, s', 'Failures', 'Times a node left (killed)', "Registry's share"];
  return table([...head, ...Object.values(WATCHED)], [row], 'figures');
}
