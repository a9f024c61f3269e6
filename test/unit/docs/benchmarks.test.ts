/** The tables of docs/benchmarks.md say what the kept results say. */
import assert from 'node:assert/strict';
import { readKept, type Kept } from '../../../bench/report/kept.ts';
import { crowdTable } from '../../../docs/benchmarks/crowd-table.ts';
import { lateTable, nodeTable, transferTable } from '../../../docs/benchmarks/node-tables.ts';
import { chargedTable, churnTable, simulationTable } from '../../../docs/benchmarks/simulation-tables.ts';
import { commandOf, sourceTable } from '../../../docs/benchmarks/source-table.ts';
import { crowdColumn, targetTable } from '../../../docs/benchmarks/target-table.ts';

/** Cells of a Markdown table by the head of their column. */
function cellsOf(text: string): readonly Readonly<Record<string, string>>[] {
  const [head = [], , ...rows] = text.split('\n').map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
  return rows.map((row) => Object.fromEntries(head.map((name, at) => [name, row[at] ?? ''])));
}

type Crowd = Kept<'crowd'>;

/** The kept crowd, with other figures in its turns of one system. */
async function crowdWith(system: string, figures: Partial<Crowd['results'][number]>): Promise<Crowd> {
  const kept = await readKept('crowd-20mbit', 'crowd');
  const results = kept.results.map((turn) =>
    turn.system === system ? Object.assign({}, turn, figures) : turn,
  );
  return { ...kept, results };
}

describe('docs/benchmarks', () => {
  it('has a row for each system of a crowd, without columns that nobody measured', async () => {
    const kept = await crowdWith('spegel', { makespan_s: 12.34, cpu_busy: 0.5 });
    const rows = cellsOf(crowdTable([kept]));
    assert.equal(rows.length, new Set(kept.results.map(({ system }) => system)).size);
    const spegel = rows.find((row) => row['System']?.startsWith('Spegel'));
    assert.equal(spegel?.['Makespan, s'], '12.3');
    assert.equal(spegel['CPU of the machine'], '50 %');
    assert.ok(!('p50 of later waves, s' in spegel));
  });

  it('says of each target whether it is met', async () => {
    const registry = { makespan_s: 10 };
    const verdicts = async (makespan: number, failures: number): Promise<readonly (string | undefined)[]> => {
      const weir = await crowdWith('weir', { makespan_s: makespan, failures, fallback_requests: 0 });
      const results = weir.results.map((turn) =>
        turn.system === 'registry' ? Object.assign({}, turn, registry) : turn,
      );
      const rows = cellsOf(targetTable([crowdColumn({ ...weir, results })]));
      const cell = (start: string): string | undefined =>
        rows.find((row) => row['Target']?.startsWith(start))?.['8 nodes, 20mbit'];
      return [cell('Time over'), cell('Failed pulls'), cell('Connections')];
    };
    assert.deepEqual(await verdicts(10, 0), ['1.00 met', '0 met', '–']);
    assert.deepEqual(await verdicts(15, 2), ['1.50 **missed**', '2 **missed**', '–']);
  });

  it('refuses simulations of different sizes side by side', async () => {
    const kept = await readKept('simulate-1gbit', 'simulate');
    const smaller = { ...kept, results: kept.results.slice(1) };
    assert.throws(() => simulationTable([kept, smaller]), /has no 10 nodes/);
    assert.throws(() => chargedTable([kept]), /was not charged/);
  });

  it('refuses a result in which a row is missing', async () => {
    const node = await readKept('node', 'node');
    assert.throws(() => nodeTable({ ...node, targets: [] }), /no target "cold pull/);
    assert.throws(() => lateTable({ ...node, targets: [] }), /no target "late node/);
    const transfer = await readKept('transfer', 'transfer');
    const cases = transfer.cases.filter(({ secure }) => secure);
    assert.throws(() => transferTable({ ...transfer, cases }), /no receiver weir, TLS false/);
    const churn = await readKept('simulate-churn', 'churn');
    const [result] = churn.results;
    assert.throws(() => churnTable({ ...churn, results: [{ ...result, series: {} }] }), /did not watch/);
  });

  it('tells the command, and each machine once', async () => {
    const crowd = await readKept('crowd-20mbit-fetch', 'crowd');
    assert.equal(
      commandOf({
        ...crowd,
        settings: { nodes: 8, systems: ['kraken', 'weir'], layers: [2 ** 20], start: 'simultaneous' },
      }),
      'crowd --nodes 8 --systems kraken,weir --layers 1MiB --kraken-bin-dir DIR',
    );
    const other = { ...crowd, machine: { ...crowd.machine, cpu: 'Another' } };
    const rows = cellsOf(
      sourceTable([crowd, crowd, other].map((result, at) => ({ name: `r${at}`, result }))),
    );
    const machines = rows.map((row) => row['Machine, programs']?.split(',')[0]);
    assert.deepEqual(machines, [crowd.machine.cpu, 'the same', 'Another']);
  });
});
