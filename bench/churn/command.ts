/** `bench churn`, as the command line has it. */
import { InvalidArgumentError, Option, type Command } from 'commander';
import { withSignals } from '../../src/cli/context.ts';
import { formatDuration, formatSize, parseDuration, parseSize } from '../../src/config/units.ts';
import { parseCount, parseLayers } from '../crowd/options.ts';
import { CHURN_DEFAULTS, contradiction, type ChurnSettings } from './options.ts';
import { renderChurn } from './report.ts';
import { runChurn } from './run.ts';

const DEFAULT_OUT = 'bench/out/churn';
const MAX_NODES = 50;
const MAX_IMAGES = 1000;
const MAX_SEED = 1_000_000;
const MAX_ZIPF = 5;

type Flags = ChurnSettings & { readonly out: string; readonly json?: boolean };

export function addChurn(program: Command): void {
  const command = program
    .command('churn')
    .summary('Does anything keep growing while nodes come and go?')
    .description(
      'Real nodes on loopback and a real registry. Half of the nodes leave and start again. They pull images by Zipf’s ' +
        'law, more than the quota holds. Memory, open files and stores are watched, and a verdict says whether any ' +
        'keeps growing. Needs docker-registry. See bench/churn/README.md.',
    );
  for (const option of options()) command.addOption(option);
  command.action((flags: Flags) => run(command, flags));
}

function options(): readonly Option[] {
  const { images, layers, quota, zipf, pullEvery, stay, away } = CHURN_DEFAULTS;
  const sizes = layers.map(formatSize).join(',');
  return [
    value('--nodes <N>', `nodes, 2 to ${MAX_NODES}`, '10', (text) => parseCount(text, 2, MAX_NODES)),
    value('--for <TIME>', 'length of the run', '30m', parseDuration),
    value('--images <N>', 'images in the registry', String(images), (text) =>
      parseCount(text, 1, MAX_IMAGES),
    ),
    value('--layers <SIZES>', 'sizes of the layers of each image', sizes, parseLayers),
    value('--quota <SIZE>', "quota of each node's store", formatSize(quota), parseSize),
    value('--zipf <S>', 'the k-th image is 1/k^S as popular as the first', String(zipf), parseZipf),
    value(
      '--pull-every <TIME>',
      'time between two pulls of a node, on average',
      formatDuration(pullEvery),
      parseDuration,
    ),
    value(
      '--stay <TIME>',
      'time that a node stays, if it comes and goes, on average',
      formatDuration(stay),
      parseDuration,
    ),
    value('--away <TIME>', 'time that such a node is away, on average', formatDuration(away), parseDuration),
    value('--seed <N>', 'seed of the images and of all chance', '1', (text) => parseCount(text, 0, MAX_SEED)),
    new Option('--out <DIR>', 'folder for the report').default(DEFAULT_OUT),
    new Option('--json', 'print the report as JSON instead of a table'),
  ];
}

async function run(command: Command, flags: Flags): Promise<void> {
  const { out, json = false, ...settings } = flags;
  const problem = contradiction(settings);
  if (problem !== undefined) command.error(`error: ${problem}`);
  const report = await withSignals((signal) => runChurn({ settings, out, say: console.error, signal }));
  process.stdout.write(
    json ? `${JSON.stringify(report, undefined, 2)}\n` : `\n${renderChurn(settings, report)}`,
  );
  if (report.results.some(({ failures }) => failures > 0)) throw new Error('pulls failed: see above');
}

function parseZipf(text: string): number {
  const number = Number(text);
  if (text.trim() !== '' && number >= 0 && number <= MAX_ZIPF) return number;
  throw new Error(`It is not a number from 0 to ${MAX_ZIPF}.`);
}

function value(flags: string, text: string, standard: string, parse: (text: string) => unknown): Option {
  const reading = (given: string): unknown => {
    try {
      return parse(given);
    } catch (error) {
      throw new InvalidArgumentError(error instanceof Error ? error.message : String(error));
    }
  };
  return new Option(flags, text).argParser(reading).default(parse(standard), standard);
}
