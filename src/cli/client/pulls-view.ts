/** The last pulls of a node as a table for people. Pure. */
import type { BlobPullReport, ImageReport, PullReport, PullsReport } from '../../status/pull-report.ts';
import { formatBytes, formatSeconds, formatShare, shortDigest } from './format.ts';
import { cut, drawCells, paint, printable, shareCells, type Tone } from './terminal.ts';

/** Blobs that are shown of each image: those that took the longest. */
const SHOWN_BLOBS = 3;
/** Causes that are shown of each line, and the seconds from which on they are. */
const SHOWN_CAUSES = 2;
const MIN_CAUSE = 0.01;
/** Characters of a reference, of a client, and of a peer's name. */
const MAX_IMAGE = 60;
const MAX_CLIENT = 24;
const MAX_NAME = 24;
const BAR = 10;

export interface PullsViewOptions {
  /** Undefined: no limit, for a pipe. */
  readonly columns: number | undefined;
  readonly color: boolean;
}

/** What each cause means to the reader of a table; docs/admin-api.md explains them. */
const CAUSES: Readonly<Record<keyof PullReport['waits'], string>> = {
  queue: 'queue',
  access: 'access check',
  registry: 'registry',
  peers: 'peers',
  disk: 'disk',
  arriving: 'arriving',
  sending: 'sending',
};

const HEAD = ['', 'OUTCOME', 'TIME', 'BYTES', 'STORE', 'PEERS', 'REGISTRY', 'WAITED FOR'];
/** Columns of figures, aligned to the right. */
const RIGHT: ReadonlySet<number> = new Set([2, 3, 4, 5, 6]);

interface Row {
  readonly cells: readonly string[];
  readonly tone: Tone | undefined;
}

/** A line for each image, and below it the figures of the whole and of its slowest blobs. */
export function renderPulls({ pulls }: PullsReport, options: PullsViewOptions): readonly string[] {
  if (pulls.length === 0) return ['no pull that is asked for'];
  const head: Row = { cells: HEAD, tone: 'dim' };
  const tables = pulls.map((pull) => ({ pull, rows: rowsOf(pull) }));
  const all = [head, ...tables.flatMap(({ rows }) => rows)];
  const widths = HEAD.map((_, at) => Math.max(...all.map(({ cells }) => cells[at]?.length ?? 0)));
  const fit = (text: string, tone: Tone | undefined): string => {
    const fitted = options.columns === undefined ? text : cut(text, options.columns);
    return options.color && tone !== undefined ? paint(tone, fitted) : fitted;
  };
  const line = ({ cells, tone }: Row): string => {
    const padded = cells.map((cell, at) =>
      RIGHT.has(at) ? cell.padStart(widths[at] ?? 0) : cell.padEnd(widths[at] ?? 0),
    );
    return fit(`  ${padded.join('  ')}`.trimEnd(), tone);
  };
  const lines = [line(head)];
  for (const { pull, rows } of tables) {
    lines.push(fit(titleOf(pull), 'bold'));
    for (const row of rows) lines.push(line(row));
  }
  return lines;
}

/** `docker.io/library/alpine:3.20  12:03:09  containerd/2.1.4` */
function titleOf({ image, began, client }: PullReport): string {
  return [shortImage(image), timeOf(began), cut(printable(client), MAX_CLIENT)].join('  ').trimEnd();
}

function rowsOf(pull: PullReport): readonly Row[] {
  const slowest = pull.blobs.toSorted((a, b) => b.seconds - a.seconds).slice(0, SHOWN_BLOBS);
  const more = pull.blobs.length + pull.more_blobs - slowest.length;
  return [
    { cells: ['image', ...figures(pull)], tone: toneOf(pull.state) },
    ...slowest.map((blob) => ({
      cells: [shortDigest(blob.digest), ...figures(blob)],
      tone: toneOf(blob.state),
    })),
    ...(more === 0 ? [] : [{ cells: [`${more} more`], tone: 'dim' as const }]),
  ];
}

function figures(report: PullReport | BlobPullReport): readonly string[] {
  const { state, code, seconds, bytes, sources } = report;
  const share = (part: number): string => (bytes === 0 ? '–' : formatShare(part, bytes));
  return [
    code === undefined ? state.replace('_', ' ') : printable(code),
    formatSeconds(seconds),
    formatBytes(bytes),
    share(sources.store),
    share(sources.peers),
    share(sources.registry),
    [waitsOf(report), peersOf(report)].filter(Boolean).join('; '),
  ];
}

/** `peers 1.20 s, queue 300 ms`; those that took the longest */
function waitsOf(report: PullReport | BlobPullReport): string {
  const manifests = 'manifest_seconds' in report ? [['manifests', report.manifest_seconds] as const] : [];
  const causes = Object.entries(CAUSES) as [keyof PullReport['waits'], string][];
  return [...manifests, ...causes.map(([cause, name]) => [name, report.waits[cause]] as const)]
    .filter(([, seconds]) => seconds >= MIN_CAUSE)
    .toSorted(([, a], [, b]) => b - a)
    .slice(0, SHOWN_CAUSES)
    .map(([name, seconds]) => `${name} ${formatSeconds(seconds)}`)
    .join(', ');
}

/** `node-b 12.0 MiB`: the peer that sent the most */
function peersOf({ peers }: PullReport | BlobPullReport): string {
  const [first] = peers;
  if (first === undefined) return '';
  const name = first.name === '' ? `…${first.peer.slice(-8)}` : cut(printable(first.name), MAX_NAME);
  return `most from ${name} (${formatBytes(first.bytes)})`;
}

function toneOf(state: PullReport['state']): Tone | undefined {
  if (state === 'failed') return 'red';
  return state === 'client_left' || state === 'handed_over' ? 'yellow' : undefined;
}

/** Of the last images in `weir status`, two lines for each. */
export function renderImages(
  images: readonly ImageReport[],
  { columns, color }: { readonly columns: number; readonly color: boolean },
): readonly string[] {
  return images.flatMap(({ image, state, began, seconds, bytes, sources }) => {
    const shares = [
      ['local', sources.store],
      ['upstream', sources.registry],
      ['peers', sources.peers],
    ] as const;
    const bar = drawCells(shareCells(shares, bytes, BAR), color);
    const took = state === 'pulling' ? `for ${formatSeconds(seconds)}` : `in ${formatSeconds(seconds)}`;
    const isUsual = state === 'complete' || state === 'pulling';
    const outcome = isUsual ? '' : `  ${state.replace('_', ' ')}`;
    const painted = color ? paint(toneOf(state) ?? 'reset', outcome) : outcome;
    return [
      `  ${cut(shortImage(image), columns - 2)}`,
      `    ${timeOf(began)}  ${bar}  ${formatBytes(bytes).padStart(10)}  ${took}${painted}`,
    ];
  });
}

/** The end of a long name tells more than its beginning; a digest is shortened. */
function shortImage(image: string): string {
  const short = printable(image).replace(/(@sha(?:256|512):[0-9a-f]{12})[0-9a-f]+$/, '$1');
  return short.length <= MAX_IMAGE ? short : `…${short.slice(1 - MAX_IMAGE)}`;
}

/** `14:03:09`, in UTC as the log has it. */
function timeOf(began: string): string {
  return began.slice(11, 19);
}

/** `10.0 MiB from peers (node-b 6.0 MiB, node-c 4.0 MiB), 2.0 MiB from the registry` */
export function describeSources({ sources, peers }: PullReport): string {
  const named = peers.map(
    ({ name, peer, bytes }) =>
      `${name === '' ? `…${peer.slice(-8)}` : printable(name)} ${formatBytes(bytes)}`,
  );
  const most = named.length === 0 ? '' : ` (most: ${named.join(', ')})`;
  const parts = [
    sources.peers > 0 ? `${formatBytes(sources.peers)} from peers${most}` : '',
    sources.registry > 0 ? `${formatBytes(sources.registry)} from the registry` : '',
    sources.store > 0 ? `${formatBytes(sources.store)} from the store` : '',
  ];
  return parts.filter(Boolean).join(', ');
}
