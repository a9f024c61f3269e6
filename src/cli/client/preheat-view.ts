/** The picture of an order to preheat images: a bar, and the nodes that matter. Pure. */
import type { PreheatNodeReport, PreheatReport } from '../../status/preheat-report.ts';
import { formatPart } from './format.ts';
import { cut, fitRows, paint, printable, type Tone } from './terminal.ts';

export interface PreheatViewOptions {
  readonly columns: number;
  /** Undefined: as many as there are. */
  readonly rows: number | undefined;
  readonly color: boolean;
}

const TONES: Readonly<Record<string, Tone>> = {
  done: 'green',
  failed: 'red',
  pulling: 'cyan',
  skipped: 'yellow',
};
/** Nodes in the order in which an operator looks for them. */
const RANKS: readonly string[] = ['failed', 'pulling', 'skipped', 'waiting', 'accepted', 'done'];
const NAME_COLUMNS = 28;

export function renderPreheat(report: PreheatReport, options: PreheatViewOptions): readonly string[] {
  const { columns, rows } = options;
  const nodes = report.members.toSorted(
    (a, b) => RANKS.indexOf(a.state) - RANKS.indexOf(b.state) || a.name.localeCompare(b.name),
  );
  const lines = [
    ...report.images.map((image) => cut(printable(image), columns)),
    cut(summary(report), columns),
    ...nodes.flatMap((node) => nodeLines(node, report.images, options)),
  ];
  return rows === undefined ? lines : fitRows(lines, rows);
}

/** `preheat 5f… running: 3 of 4 nodes done, 1 failed, 310.0 / 412.3 MiB` */
function summary(report: PreheatReport): string {
  const { id, state, chosen, done, skipped, failed, starts, nodes, zone, members } = report;
  const where = `${nodes === 'all' ? '' : ` (--nodes ${nodes})`}${zone === undefined ? '' : ` in zone ${printable(zone)}`}`;
  const parts = [`${done} of ${chosen} nodes${where} done`];
  if (skipped > 0) parts.push(`${skipped} skipped`);
  if (failed > 0) parts.push(`${failed} failed`);
  const amount = amountOf(members.flatMap(({ images }) => images));
  if (amount !== '') parts.push(amount);
  if (state === 'scheduled') parts.push(`starts at ${starts}`);
  return `preheat ${id} ${state}: ${parts.join(', ')}`;
}

/** Empty as long as no size is known. */
function amountOf(images: PreheatNodeReport['images']): string {
  const size = images.reduce((sum, image) => sum + image.size, 0);
  const present = images.reduce((sum, image) => sum + image.present_bytes, 0);
  return size === 0 ? '' : formatPart(present, size);
}

function nodeLines(
  { name, peer, zone, state, reason, images }: PreheatNodeReport,
  names: readonly string[],
  { columns, color }: PreheatViewOptions,
): readonly string[] {
  const title = cut(printable(name === '' ? peer : name), NAME_COLUMNS).padEnd(NAME_COLUMNS);
  const word = state.padEnd(8);
  const tone = TONES[state];
  const told = color && tone !== undefined ? paint(tone, word) : word;
  const amount = amountOf(images);
  const where = zone === '' ? '' : `  ${printable(zone)}`;
  const why = reason === undefined ? '' : `  ${printable(reason)}`;
  const head = `  ${title}  ${told}  ${cut(`${amount}${where}${why}`, Math.max(20, columns - NAME_COLUMNS - 14))}`;
  const problems = images.flatMap((image, index) =>
    image.reason === undefined
      ? []
      : [`    ${names[index] ?? ''}: ${image.state}: ${printable(image.reason)}`],
  );
  return [head.trimEnd(), ...problems.map((line) => cut(line, columns))];
}
