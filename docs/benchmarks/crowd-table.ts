/** The tables of `bench crowd`: a row for each system. */
import { crowdRows } from '../../bench/crowd/report.ts';
import type { Kept } from '../../bench/report/kept.ts';
import { table } from '../markdown.ts';

/** What the page shows of a crowd: figures of the bench's own table, and how the page names them. */
const FIGURES: Readonly<Record<string, string>> = {
  'makespan, s': 'Makespan, s',
  'over the bound': 'over the bound',
  'p50, s': 'p50, s',
  'p50 of later waves, s': 'p50 of later waves, s',
  'first byte p50, s': 'First byte, p50, s',
  'registry bytes, images': 'Left the registry, images',
  'past the mirrors': 'Past the mirrors',
  'CPU s per GiB': 'CPU s per GiB',
  'CPU of the machine': 'CPU of the machine',
  'memory, idle node': 'Idle node',
  'memory, largest': 'Largest process',
  failures: 'Failures',
};
/** How the bench writes that a figure was not measured. */
const NONE = '–';
const SYSTEMS: Readonly<Record<string, string>> = {
  registry: 'Registry alone',
  proxy: 'Pull-through cache',
  spegel: 'Spegel',
  kraken: 'Kraken',
  dragonfly: 'Dragonfly',
  weir: '**Weir**',
};

/** A figure that nobody measured is left out. */
export function crowdTable(crowds: readonly Kept<'crowd'>[]): string {
  const rows = crowds.flatMap((crowd) => systemRows(crowd));
  const head = ['Links, runtime', 'System', ...Object.values(FIGURES)];
  const told = head.map((_, column) => rows.some((cells) => cells[column] !== NONE));
  const without = (cells: readonly string[]): readonly string[] => cells.filter((_, column) => told[column]);
  return table(without(head), rows.map(without), 'figures');
}

function systemRows({ settings, versions, results }: Kept<'crowd'>): readonly (readonly string[])[] {
  const [systems = [], ...rows] = crowdRows(results);
  const figures = Object.keys(FIGURES).map((name) => {
    const found = rows.find(([row = '']) => row.trim() === name);
    if (found === undefined) throw new Error(`bench crowd has no figure "${name}"`);
    return found;
  });
  const where = `${String(settings['link'])}, ${String(settings['runtime'])}`;
  return systems.slice(1).map((system, at) => {
    const name = [SYSTEMS[system] ?? system, versions[system] ?? ''].join(' ').trim();
    return [where, name].concat(figures.map((cells) => cells[at + 1] ?? NONE));
  });
}
