/** The table of targets: a row for each, a column for each situation that is judged. */
import type { Kept } from '../../bench/report/kept.ts';
import { TARGETS, type Target, type Turn } from '../../bench/report/targets.ts';
import { table } from '../markdown.ts';

export interface Column {
  readonly title: string;
  readonly weir: readonly Turn[];
  readonly registry: readonly Turn[];
}

export function targetTable(columns: readonly Column[]): string {
  const rows = TARGETS.map((target) =>
    [`${target.name}: at most ${target.limit}`].concat(columns.map((column) => targetCell(target, column))),
  );
  return table(['Target', ...columns.map(({ title }) => title)], rows, 'figures');
}

function targetCell({ judge, digits }: Target, { weir, registry }: Column): string {
  const judged = judge(weir, registry);
  return judged === undefined ? '–' : `${judged.value.toFixed(digits)} ${judgement(judged.met)}`;
}

export function judgement(met: boolean): string {
  return met ? 'met' : '**missed**';
}

/** The largest cluster of a simulation. */
export function simulatedColumn({ results, settings }: Kept<'simulate'>): Column {
  const nodes = Math.max(...results.map((turn) => turn.nodes));
  return {
    title: `${nodes.toLocaleString('en')} simulated nodes, ${String(settings['link'])}`,
    weir: results.filter((turn) => turn.nodes === nodes),
    registry: [],
  };
}

export function crowdColumn({ results, settings }: Kept<'crowd'>): Column {
  const of = (name: string): readonly Turn[] => results.filter(({ system }) => system === name);
  const rolling = String(settings['start']).startsWith('rolling') ? ', rolling' : '';
  return {
    title: `${String(settings['nodes'])} nodes, ${String(settings['link'])}${rolling}`,
    weir: of('weir'),
    registry: of('registry'),
  };
}
