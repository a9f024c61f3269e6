/** The demo's live picture: a line per puller, and the bytes of the registry. Pure: no clock, no output. */
import { formatBytes, formatPart, formatRate, formatSeconds, formatShare } from '../client/format.ts';
import { cut, drawCells, legend, paint, type Cell } from '../client/terminal.ts';
import type { Share } from './share.ts';

/** Columns beside the bar and the name: margins 4, per cent 6, two sizes 22, rate 13. */
const FIXED_COLUMNS = 46;
const MIN_BAR = 8;
const MAX_BAR = 64;
/** Lines besides those of pullers: title, figures, head, legend, and the cursor's. */
const FIXED_ROWS = 6;

export interface Puller {
  readonly name: string;
  readonly share: Share;
  /** Seconds that the whole pull took, once it is done. */
  readonly seconds?: number | undefined;
  /** The failure, in a word or two. */
  readonly failure?: string | undefined;
}

export interface Scene {
  readonly title: string;
  /** Whether the pullers are nodes, which get parts from peers. */
  readonly isSwarm: boolean;
  readonly pullers: readonly Puller[];
  /** Bytes of blobs that have left the registry in this wave. */
  readonly registryBytes: number;
  /** Since the wave began. */
  readonly seconds: number;
}

export interface PictureOptions {
  readonly columns: number;
  readonly rows: number;
  readonly color: boolean;
}

export function renderPicture(scene: Scene, options: PictureOptions): readonly string[] {
  const { columns, rows, color } = options;
  const { pullers } = scene;
  const names = Math.max(4, ...pullers.map(({ name }) => name.length));
  const width = Math.max(MIN_BAR, Math.min(MAX_BAR, columns - FIXED_COLUMNS - names));
  const fits = Math.max(1, rows - FIXED_ROWS);
  const shown = pullers.length <= fits ? pullers : pullers.slice(0, fits - 1);
  const head = `  ${'node'.padEnd(names)}  ${'image'.padEnd(width)}${'registry'.padStart(17)}${'peers'.padStart(11)}${'rate'.padStart(13)}`;
  const lines = [
    color ? paint('bold', scene.title) : scene.title,
    `  ${renderFigures(scene)}`,
    color ? paint('dim', head) : head,
    ...shown.map((puller) => pullerLine(puller, names, width, color)),
  ];
  const hidden = pullers.slice(shown.length);
  if (hidden.length > 0) lines.push(`  … and ${hidden.length} more, ${spread(hidden)}`);
  const isThere: Readonly<Record<Cell, boolean>> = {
    upstream: true,
    peers: scene.isSwarm && (pullers.length > 1 || pullers.some(({ share }) => share.from('peers') > 0)),
    local: pullers.some(({ share }) => share.from('local') > 0),
    none: true,
  };
  const key = (['upstream', 'peers', 'local', 'none'] as const).filter((cell) => isThere[cell]);
  return [...lines, `  ${' '.repeat(names)}  ${legend(key, color)}`];
}

/** One line for a log. */
export function renderLine(scene: Scene): string {
  const many = scene.pullers.length > 1 ? `, ${spread(scene.pullers)}` : '';
  return `  ${renderFigures(scene)}${many}`;
}

function renderFigures({ pullers, registryBytes, seconds }: Scene): string {
  const present = sum(pullers, ({ share }) => share.present);
  const all = sum(pullers, ({ share }) => share.map.size);
  const image = pullers[0]?.share.map.size ?? 0;
  const times = image === 0 ? '' : ` = ${(registryBytes / image).toFixed(2)} × image`;
  const sent = `registry sent ${formatBytes(registryBytes)}${times}`;
  return `${`${seconds.toFixed(1)} s`.padStart(6)}  ${formatShare(present, all).padStart(5)}  ${formatPart(present, all)}  ${sent}`;
}

function pullerLine(puller: Puller, names: number, width: number, color: boolean): string {
  const { name, share, seconds, failure } = puller;
  const bar = drawCells(share.cells(width), color);
  const percent = formatShare(share.present, share.map.size).padStart(5);
  const [registry, peers] = [formatBytes(share.from('upstream')), formatBytes(share.from('peers'))];
  let last = share.rate > 0 ? formatRate(share.rate, 1) : '';
  if (seconds !== undefined) last = `in ${formatSeconds(seconds)}`;
  if (failure !== undefined) last = cut(failure, 11);
  last = last.padStart(13);
  if (color && failure !== undefined) last = paint('red', last);
  if (color && failure === undefined && seconds !== undefined) last = paint('bold', last);
  return `  ${name.padEnd(names)}  ${bar} ${percent}${registry.padStart(11)}${peers.padStart(11)}${last}`.trimEnd();
}

/** `35 % to 80 %`, or `35 %` if all are alike. */
function spread(pullers: readonly Puller[]): string {
  const shares = pullers.map(({ share }) => (share.map.size === 0 ? 0 : share.present / share.map.size));
  const [least, most] = [formatShare(Math.min(...shares), 1), formatShare(Math.max(...shares), 1)];
  return least === most ? least : `${least} to ${most}`;
}

function sum<T>(items: readonly T[], read: (item: T) => number): number {
  return items.reduce((total, item) => total + read(item), 0);
}
