/** `bench crowd`, as the command line has it. */
import { InvalidArgumentError, Option, type Command } from 'commander';
import { withSignals } from '../../src/cli/context.ts';
import {
  contradiction,
  DEFAULT_LOG_LEVEL,
  LOG_LEVELS,
  MAX_NODES,
  parseCount,
  parseLayers,
  parseRate,
  parseShare,
  parseStart,
  parseSystem,
  parseSystems,
  RUNTIMES,
  type CrowdSettings,
  type SystemName,
} from './options.ts';
import { renderCrowd } from './report.ts';
import { runCrowd } from './run.ts';

type Flags = Omit<CrowdSettings, 'systems' | 'binaries'> & {
  readonly system: SystemName;
  readonly systems?: readonly SystemName[];
  readonly spegelBin?: string;
  readonly dragonflyBinDir?: string;
  readonly krakenBinDir?: string;
  readonly out: string;
  readonly json?: boolean;
};

const MAX_REPEAT = 100;
const MAX_PULLED = 100;
const MAX_SEED = 1_000_000_000;

const DEFAULT_OUT = 'bench/out/crowd';

export function addCrowd(program: Command): void {
  const command = program
    .command('crowd')
    .summary('Many real nodes behind real links pull one image at once')
    .description(
      'Starts real nodes in network namespaces behind shaped links, and a real registry behind its own. All nodes pull ' +
        'one image. Measures time, bytes of the registry, CPU and memory, beside other systems. Needs root and ' +
        'docker-registry; --loopback needs no root, and shapes nothing. See bench/crowd/README.md.',
    );
  for (const option of options()) command.addOption(option);
  command.action((flags: Flags) => run(command, flags));
}

function options(): readonly Option[] {
  const layers = '24MiB,12MiB,6MiB,3MiB,2MiB,1MiB';
  return [
    value('--nodes <N>', `nodes, 2 to ${MAX_NODES}`, '50', (text) => parseCount(text, 2, MAX_NODES)),
    value('--layers <SIZES>', 'sizes of the layers of the image', layers, parseLayers),
    value('--link <RATE>', 'rate of each link, up and down, as tc writes it', '20mbit', parseRate),
    value('--registry <RATE>', "rate of the registry's link", '20mbit', parseRate),
    value('--start <HOW>', 'simultaneous, jitter:2s or rolling:20%', 'simultaneous', parseStart),
    value('--zones <N>', 'zones that the nodes are in', '1', (text) => parseCount(text, 1, MAX_NODES)),
    value('--kill <SHARE>', 'nodes that die while they pull', '0%', parseShare),
    value('--slow <SHARE>', 'nodes whose link has a tenth of the rate', '0%', parseShare),
    value('--loss <SHARE>', 'packets between nodes that are lost', '0%', parseShare),
    value('--repeat <N>', 'turns', '3', (text) => parseCount(text, 1, MAX_REPEAT)),
    value(
      '--pulled <N>',
      'images of the same size that all nodes pull together before the measured one',
      '0',
      (text) => parseCount(text, 0, MAX_PULLED),
    ),
    value('--seed <N>', 'seed of the image and of all chance', '1', (text) => parseCount(text, 0, MAX_SEED)),
    value('--system <NAME>', 'the measured system', 'weir', parseSystem).conflicts('systems'),
    new Option('--systems <NAMES>', 'several systems, turn by turn, such as registry,proxy,weir').argParser(
      reading(parseSystems),
    ),
    new Option(
      '--runtime <NAME>',
      'the program that pulls on each node: an HTTP client, or a real containerd each',
    )
      .choices(RUNTIMES)
      .default(RUNTIMES[0]),
    new Option('--loopback', 'no namespaces, no shaped links, no root').default(false),
    new Option('--spegel-bin <PATH>', 'program of --system spegel'),
    new Option('--dragonfly-bin-dir <DIR>', 'programs of --system dragonfly'),
    new Option('--kraken-bin-dir <DIR>', 'programs of --system kraken'),
    new Option('--log-level <LEVEL>', 'log level of the nodes of weir; above info their logs are kept')
      .choices(LOG_LEVELS)
      .default(DEFAULT_LOG_LEVEL),
    new Option('--out <DIR>', 'folder for the report').default(DEFAULT_OUT),
    new Option('--json', 'print the report as JSON instead of a table'),
  ];
}

async function run(command: Command, flags: Flags): Promise<void> {
  const { system, systems, spegelBin, dragonflyBinDir, krakenBinDir, out, json = false, ...rest } = flags;
  const binaries = { spegel: spegelBin, dragonfly: dragonflyBinDir, kraken: krakenBinDir };
  const settings = { ...rest, systems: systems ?? [system], binaries };
  const problem = contradiction(settings);
  if (problem !== undefined) command.error(`error: ${problem}`);
  const report = await withSignals((signal) => runCrowd({ settings, out, say: console.error, signal }));
  process.stdout.write(json ? `${JSON.stringify(report, undefined, 2)}\n` : `\n${renderCrowd(report)}`);
  if (report.results.some(({ failures }) => failures > 0)) throw new Error('pulls failed: see above');
}

function value(flags: string, text: string, standard: string, parse: (text: string) => unknown): Option {
  return new Option(flags, text).argParser(reading(parse)).default(parse(standard), standard);
}

function reading(parse: (text: string) => unknown): (text: string) => unknown {
  return (text) => {
    try {
      return parse(text);
    } catch (error) {
      throw new InvalidArgumentError(error instanceof Error ? error.message : String(error));
    }
  };
}
