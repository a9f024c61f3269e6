/** `bench simulate` on the command line. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Option, type Command } from 'commander';
import { SECOND } from '../../src/util/clock.ts';
import { CHURN_DEFAULTS } from '../churn/options.ts';
import { describeMachine } from '../support/machine.ts';
import { writeReport, type BenchReport, type SettingValue } from '../report/report.ts';
import { renderTable } from '../report/table.ts';
import type { BenchResult, ClusterCpu } from '../report/result.ts';
import {
  parseCores,
  parseLayers,
  parseNodes,
  parsePolicy,
  parseRate,
  parseShare,
  parseStart,
  parseTime,
  parseWhole,
} from './options.ts';
import { simulateChurn } from './churn.ts';
import { churnResult, renderChurn } from './churn-report.ts';
import { simulate, type SimulateOptions } from '../../test/simulator/simulate.ts';

const DEFAULT_OUT = 'bench/out/simulate';
const MAX_REPEAT = 100;
const MAX_THROTTLE = 1_000_000;
const MAX_SEED = 2 ** 31 - 1;

interface Flags extends Omit<SimulateOptions, 'nodes' | 'connection' | 'throttle'> {
  readonly nodes: readonly number[];
  readonly connection?: number;
  readonly throttle?: number;
  readonly repeat: number;
  /** Milliseconds. */
  readonly churn?: number;
  readonly out: string;
  readonly json?: boolean;
}

export function addSimulate(program: Command): void {
  const command = program
    .command('simulate')
    .summary('Up to 5,000 nodes that pull one image, in virtual time')
    .description(
      "Drives the daemon's own swarm policy over a modelled network. The same options and seed give the same " +
        'figures to the last digit, on any machine. See bench/simulate/README.md.',
    );
  const texts = new Map<string, string>();
  const option = (flags: string, text: string, parse: (text: string) => unknown, usual?: string): void => {
    const name = /--([\w-]+)/.exec(flags)?.[1] ?? flags;
    const keep = (given: string): unknown => {
      const value = parse(given);
      texts.set(name, given);
      return value;
    };
    const declared = new Option(flags, text).argParser(keep);
    if (usual !== undefined) {
      declared.default(parse(usual), usual);
      texts.set(name, usual);
    }
    command.addOption(declared);
  };
  option('--nodes <N,...>', 'how many nodes; several: one after the other', parseNodes, '50');
  option('--layers <SIZES>', 'of the image', parseLayers, '200MiB,100MiB,60MiB,40MiB,20MiB,10MiB,5MiB,1MiB');
  option('--link <RATE>', 'of each node, up and down', parseRate, '1gbit');
  option('--registry <RATE>', "of the registry's uplink", parseRate, '1gbit');
  option('--connection <RATE>', 'of each connection to the registry, at most', parseRate);
  option(
    '--throttle <N>',
    'requests in a second above which the registry answers 429',
    parseWhole(1, MAX_THROTTLE),
  );
  option('--start <HOW>', 'simultaneous, jitter:2s or rolling:20%', parseStart, 'simultaneous');
  option('--zones <N>', 'zones over which nodes are spread', parseWhole(1, 64), '1');
  option('--latency <TIME>', 'of a message within a zone', parseTime, '1ms');
  option('--zone-latency <TIME>', 'of a message to another zone', parseTime, '2ms');
  option(
    '--headers <SHARE>',
    'headers in what links carry; 12% to 20% on the links of crowd',
    parseShare,
    '0%',
  );
  option(
    '--queue <TIME>',
    'that a message waits at each full link; 50ms on the links of crowd',
    parseTime,
    '0ms',
  );
  option('--cores <N>', 'of each node, which is charged for its work; default: CPU time is free', parseCores);
  option('--loss <SHARE>', 'of packets, on all links', parseShare, '0%');
  option('--join-delay <TIME>', 'time until a node that comes up knows others and is known', parseTime);
  option('--membership-delay <TIME>', 'until all nodes know of a death', parseTime, '5s');
  option('--kill <SHARE>', 'nodes that die in the middle', parseShare, '0%');
  option('--slow <SHARE>', 'nodes with a tenth of the link', parseShare, '0%');
  option('--hang <SHARE>', 'nodes that freeze in the middle', parseShare, '0%');
  option('--policy <NAME=VALUE,...>', 'numbers of the policy that differ from the defaults', parsePolicy);
  option('--churn <TIME>', "how long nodes come, go and pull by Zipf's law, as in bench churn", parseTime);
  option('--repeat <N>', 'turns, each with the next seed', parseWhole(1, MAX_REPEAT), '1');
  option('--seed <N>', 'of the first turn', parseWhole(0, MAX_SEED), '1');
  command
    .option('--handshakes', 'data connections take time to open, as real ones do', false)
    .option('--out <DIR>', 'where report.json, report.html and the charts go', DEFAULT_OUT)
    .option('--json', 'print the report as JSON instead of a table')
    .action((flags: Flags) =>
      (flags.churn === undefined ? runSimulate : runChurn)(flags, {
        ...Object.fromEntries(texts),
        handshakes: flags.handshakes ?? false,
      }),
    );
}

async function runSimulate(flags: Flags, settings: Record<string, SettingValue>): Promise<void> {
  const startedAt = new Date().toISOString();
  const machine = await describeMachine({});
  const results = runTurns(flags);
  const report: BenchReport = {
    question: 'simulate',
    startedAt,
    machine,
    settings,
    versions: { node: process.version },
    warnings: [],
    results,
  };
  const files = await writeReport(flags.out, report);
  console.error(`written: ${files.join(', ')}`);
  process.stdout.write(
    flags.json === true ? `${JSON.stringify(report, undefined, 2)}\n` : `\n${renderTable(report)}`,
  );
  if (results.some(({ failures }) => failures > 0)) throw new Error('there were failures: see above');
}

async function runChurn(flags: Flags, settings: Record<string, SettingValue>): Promise<void> {
  const startedAt = new Date().toISOString();
  const machine = await describeMachine({});
  const { nodes, link, registry, zones, latency, zoneLatency: farLatency, membershipDelay } = flags;
  const { loss = 0, joinDelay, seed, churn: duration = 0 } = flags;
  const runs = nodes.map((count) => {
    const life = { ...CHURN_DEFAULTS, nodes: count, for: duration, seed };
    const network = { link, registry, zones, latency, farLatency, membershipDelay, loss, joinDelay };
    return [life, simulateChurn(life, network)] as const;
  });
  const results = runs.map(([life, churn]) => churnResult(life, churn));
  const versions = { node: process.version };
  const report = { question: 'churn', startedAt, machine, settings, versions, warnings: [], results };
  const json = `${JSON.stringify(report, undefined, 2)}\n`;
  await mkdir(flags.out, { recursive: true });
  await writeFile(join(flags.out, 'report.json'), json);
  const text = runs.map(([life, churn]) => renderChurn(life, churn)).join('\n');
  process.stdout.write(flags.json === true ? json : `\n${text}`);
  if (runs.some(([, { failures }]) => failures.length > 0)) throw new Error('pulls failed: see above');
}

function runTurns(flags: Flags): readonly BenchResult[] {
  const results: BenchResult[] = [];
  for (const nodes of flags.nodes) {
    for (let turn = 1; turn <= flags.repeat; turn++) {
      const began = performance.now();
      const { result, messages, again } = simulate(
        { ...flags, nodes, connection: flags.connection ?? Infinity, throttle: flags.throttle ?? Infinity },
        turn,
      );
      const took = ((performance.now() - began) / SECOND).toFixed(1);
      const twice = Object.entries(again).map(([reason, count]) => `${count} ${reason}`);
      console.error(`${nodes} nodes, turn ${turn}: ${messages} messages, simulated in ${took} s`);
      const { connections_mean: mean = 0, connections_max: most } = result;
      console.error(`  connections of a node: ${mean.toFixed(1)}; most ${most}`);
      if (result.cpu !== undefined) console.error(`  ${describeCpu(result.cpu)}`);
      if (twice.length > 0) console.error(`  chunks that left the registry again: ${twice.join(', ')}`);
      results.push(result);
    }
  }
  return results;
}

function describeCpu({
  main_s: main,
  workers_s: workers,
  busiest_main_s: most,
  main_wait_s: wait,
}: ClusterCpu): string {
  const mean = `main ${main.toFixed(2)}, workers ${workers.toFixed(2)}`;
  return `CPU s of a node: ${mean}; busiest main ${most.toFixed(2)}; longest wait for main ${wait.toFixed(2)} s`;
}
