/** The generated parts of benchmarks.md, from the kept results in bench/results: one part for each question. */
import { readKept, type Kept, type Question } from '../../bench/report/kept.ts';
import { crowdTable } from './crowd-table.ts';
import { lateTable, nodeTable, transferTable } from './node-tables.ts';
import { chargedTable, churnTable, simulationTable } from './simulation-tables.ts';
import { sourceTable } from './source-table.ts';
import { crowdColumn, simulatedColumn, targetTable } from './target-table.ts';

/** The parts by name. */
export async function benchmarkParts(): Promise<Readonly<Record<string, string>>> {
  const simulated = await read('simulate-1gbit', 'simulate');
  const simulatedWide = await read('simulate-10gbit', 'simulate');
  const charged = await read('simulate-cores-1gbit', 'simulate');
  const chargedWide = await read('simulate-cores-10gbit', 'simulate');
  const churn = await read('simulate-churn', 'churn');
  const thin = await read('crowd-20mbit', 'crowd');
  const thinFetch = await read('crowd-20mbit-fetch', 'crowd');
  const fast = await read('crowd-1gbit', 'crowd');
  const rolling = await read('rolling-5gbit', 'crowd');
  const node = await read('node', 'node');
  const transfer = await read('transfer', 'transfer');
  const all = [
    simulated,
    simulatedWide,
    charged,
    chargedWide,
    churn,
    thin,
    thinFetch,
    fast,
    rolling,
    node,
    transfer,
  ];
  const crowds = [thin, fast, rolling].map(({ result }) => crowdColumn(result));
  return {
    results: sourceTable(all),
    targets: targetTable([simulatedColumn(simulated.result), ...crowds]),
    simulation: simulationTable([simulated.result, simulatedWide.result]),
    charged: chargedTable([charged.result, chargedWide.result]),
    churn: churnTable(churn.result),
    crowd: crowdTable([thin.result, thinFetch.result, fast.result]),
    rolling: crowdTable([rolling.result]),
    node: nodeTable(node.result),
    late: lateTable(node.result),
    transfer: transferTable(transfer.result),
  };
}

async function read<Q extends Question>(
  name: string,
  question: Q,
): Promise<{ readonly name: string; readonly result: Kept<Q> }> {
  return { name, result: await readKept(name, question) };
}
