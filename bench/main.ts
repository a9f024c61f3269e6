/** `npm run bench -- QUESTION`: each question is a folder beside this file, whose README says what it asks. */
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { SignalError, withSignals } from '../src/cli/context.ts';
import { describeError, EXIT, exitCodeOf } from '../src/cli/exit-codes.ts';
import { parseSize } from '../src/config/units.ts';
import { GIB, MIB } from '../src/util/clock.ts';
import { addChurn } from './churn/command.ts';
import { measureControl, renderControl } from './control/run.ts';
import { addCrowd } from './crowd/command.ts';
import { renderReport } from './node/report.ts';
import { addKeep } from './report/keep-command.ts';
import { addSimulate } from './simulate/command.ts';
import { renderTransferReport } from './transfer/report.ts';
import { runTransferBench } from './transfer/run.ts';
import { PARTS, runNodeBench, type NodeBenchOptions } from './node/run.ts';

const DEFAULT_OUT = 'bench/out';
const DEFAULT_REPEAT = 3;
const MAX_REPEAT = 100;
/** Bytes of the late node's image. Below, its start is all that is measured; above, one turn takes minutes. */
const MIN_LATE: number = 4 * MIB;
const MAX_LATE: number = 64 * GIB;

/** Settings and proxies of the machine must not reach the measured programs. */
const FOREIGN = /^WEIR_|_proxy$/i;

interface NodeFlags extends Pick<NodeBenchOptions, 'out' | 'repeat' | 'profile'> {
  readonly only?: NodeBenchOptions['parts'];
  readonly lateSize: number;
  readonly json?: boolean;
}

async function main(): Promise<number> {
  for (const name of Object.keys(process.env).filter((each) => FOREIGN.test(each))) delete process.env[name];
  const program = new Command('bench')
    .description('Measures Weir. Progress goes to stderr, results to stdout.')
    .exitOverride();
  program
    .command('node')
    .summary('The cost and the speed of one node, against the registry itself and nginx')
    .description(
      'Measures one node: cold pulls against direct ones, warm hits against nginx, resident memory, first byte; and a ' +
        'late node that takes an image from one peer. ' +
        'Needs docker-registry, nginx and 4 GiB of disk (in TMPDIR); a shaped network needs root. Takes minutes, and ' +
        'needs the machine for itself. A missed target is no failure; a wrong digest or a failed request is one. ' +
        'See bench/node/README.md.',
    )
    .option('--out <DIR>', 'folder for report.json', DEFAULT_OUT)
    .option('--repeat <N>', 'number of turns', parseRepeat, DEFAULT_REPEAT)
    .option('--json', 'print the report as JSON instead of a table')
    .option(
      '--profile <DIR>',
      'also make CPU profiles of a cold pull and of warm reads, and show their top functions',
    )
    .addOption(new Option('--only <PARTS...>', 'measure only these').choices(PARTS))
    .addOption(
      new Option('--late-size <SIZE>', "size of the late node's image, in 4 layers")
        .argParser(parseLateSize)
        .default(GIB, '1GiB'),
    )
    .action(runNode);
  program
    .command('transfer')
    .summary('What it costs to move chunks between members')
    .description(
      'Measures the data plane: CPU seconds per GiB of sender and receiver, with TLS and without, against general HTTP ' +
        'clients. Takes minutes, and needs the machine for itself. See bench/transfer/README.md.',
    )
    .option('--out <DIR>', 'folder for report.json', DEFAULT_OUT)
    .option('--repeat <N>', 'number of turns', parseRepeat, DEFAULT_REPEAT)
    .option('--json', 'print the report as JSON instead of a table')
    .action(runTransfer);
  program
    .command('control')
    .summary('What connections and messages cost members')
    .description(
      'Measures the CPU time of a libp2p connection, a TLS connection and a message, both ends together, in this process. ' +
        'The simulator charges for them (test/simulator/costs.ts). Takes a minute.',
    )
    .option('--repeat <N>', 'number of turns', parseRepeat, DEFAULT_REPEAT)
    .action(async ({ repeat }: Pick<NodeFlags, 'repeat'>) => {
      const figures = await withSignals((signal) => measureControl({ repeat, say: console.error, signal }));
      process.stdout.write(`\n${renderControl(figures)}`);
    });
  addSimulate(program);
  addCrowd(program);
  addChurn(program);
  addKeep(program);
  try {
    await program.parseAsync();
    return EXIT.ok;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    if (error instanceof SignalError) return error.exitCode;
    console.error(describeError(error).replace(/^weir:/, 'bench:'));
    return exitCodeOf(error);
  }
}

async function runNode({ out, repeat, profile, only, lateSize, json = false }: NodeFlags): Promise<void> {
  const parts = only ?? PARTS;
  const report = await withSignals((signal) =>
    runNodeBench({ out, repeat, profile, parts, lateBytes: lateSize, say: console.error, signal }),
  );
  process.stdout.write(json ? `${JSON.stringify(report, undefined, 2)}\n` : `\n${renderReport(report)}`);
}

async function runTransfer({
  out,
  repeat,
  json = false,
}: Pick<NodeFlags, 'out' | 'repeat' | 'json'>): Promise<void> {
  const report = await withSignals((signal) => runTransferBench({ out, repeat, say: console.error, signal }));
  process.stdout.write(
    json ? `${JSON.stringify(report, undefined, 2)}\n` : `\n${renderTransferReport(report)}`,
  );
}

function parseRepeat(text: string): number {
  const number = Number(text);
  if (Number.isInteger(number) && number >= 1 && number <= MAX_REPEAT) return number;
  throw new InvalidArgumentError(`It is not a whole number from 1 to ${MAX_REPEAT}.`);
}

function parseLateSize(text: string): number {
  const size = sizeIn(text);
  if (size !== undefined && size >= MIN_LATE && size <= MAX_LATE) return size;
  throw new InvalidArgumentError('It is not a size from 4MiB to 64GiB.');
}

function sizeIn(text: string): number | undefined {
  try {
    return parseSize(text);
  } catch {
    return undefined;
  }
}

process.exitCode = await main();
