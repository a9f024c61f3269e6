/** Draws a node's status as lines for people. Pure: no clock, no output. */
import type {
  ReloadReport,
  StatusReport,
  StoreReport,
  SuspectReport,
  TransferReport,
} from '../../status/status-report.ts';
import {
  formatAge,
  formatBytes,
  formatPart,
  formatRate,
  formatSeconds,
  formatShare,
  shortDigest,
  shortPeer,
} from './format.ts';
import { renderImages } from './pulls-view.ts';
import { cut, drawCells, legend, paint, printable, shareCells, type Tone } from './terminal.ts';

/** Ended transfers that are shown: the latest ones, as they are of the most interest. */
const MAX_ENDED = 8;
/** Columns beside a transfer's bar: digest 14, per cent 7, bytes 20, rate or time 13, and margins. */
const FIXED_COLUMNS = 60;
const MIN_BAR = 8;
const MAX_BAR = 40;
const LABEL_COLUMNS = 11;

export interface StatusViewOptions {
  readonly columns: number;
  readonly color: boolean;
  /** Milliseconds since the epoch. */
  readonly now: number;
  /** An earlier report and the seconds since. Rates are of this time instead of the whole transfer. */
  readonly before?: { readonly report: StatusReport; readonly seconds: number } | undefined;
}

export function renderStatus(report: StatusReport, options: StatusViewOptions): readonly string[] {
  const tone = (name: Tone, text: string): string => (options.color ? paint(name, text) : text);
  const line = (label: string, text: string): string =>
    tone('bold', label.padEnd(LABEL_COLUMNS)) + cut(text, options.columns - LABEL_COLUMNS);
  const margin = ' '.repeat(LABEL_COLUMNS);
  const { cluster, totals } = report;
  const node = [
    printable(report.name),
    ...(report.zone === '' ? [] : [`zone ${printable(report.zone)}`]),
    `weir ${printable(report.version)}`,
    `up ${formatAge(report.uptime_seconds)}`,
  ];
  const members = cluster.members === 1 ? 'no other member' : `${cluster.members} members${zonesOf(report)}`;
  const zones = totals.from_other_zones > 0 ? ` (${formatBytes(totals.from_other_zones)} other zones)` : '';
  const received = `${formatBytes(totals.from_peers)} from peers${zones}, ${formatBytes(totals.from_upstream)} from registries`;
  const lines = [
    line('node', node.join('  ')),
    line('peer', report.peer),
    line('cluster', MODES[cluster.mode](`${members}, ${cluster.connections} connections`)),
    ...aloneLines(report, options.columns - LABEL_COLUMNS).map((text) => margin + tone('red', text)),
    line('received', received),
    line('sent', `${formatBytes(totals.to_peers)} to peers, ${formatBytes(totals.to_runtimes)} to runtimes`),
    line('saved', describeSaved(report)),
    line('store', describeStore(report.store)),
    ...unstoredLines(report, line),
    ...(report.reload === undefined ? [] : [line('config', describeReload(report.reload, options.now))]),
  ];
  const problem = STORE_PROBLEMS[report.store.state];
  if (problem !== '')
    lines.push(' '.repeat(LABEL_COLUMNS) + tone('yellow', cut(problem, options.columns - LABEL_COLUMNS)));
  return [
    ...lines,
    ...renderTransfers(report, options, tone),
    ...renderLastImages(report, options, tone),
    ...renderSuspects(report, options, tone),
  ];
}

/** A node that is alone although others were named: why, and what to do. */
function aloneLines({ cluster: { alone } }: StatusReport, columns: number): readonly string[] {
  if (alone === undefined) return [];
  const { reason, at, problem, cure, seconds } = alone;
  const words = `alone for ${formatAge(seconds)}: ${reason} at ${at}: ${problem}`;
  return [words, `cure: ${cure}`].flatMap((text) => wrap(printable(text), columns));
}

/** Blobs that passed through: how many, why, and the last one. */
function unstoredLines(
  { unstored }: StatusReport,
  line: (label: string, text: string) => string,
): readonly string[] {
  if (unstored === undefined) return [];
  const { last, ...counts } = unstored;
  const causes = Object.entries(counts).filter(([, count]) => count > 0);
  if (causes.length === 0 || last === undefined) return [];
  const named = causes.map(([cause, count]) => `${cause} ${count}`).join(', ');
  const of = `${shortDigest(last.digest)} (${last.cause}): ${last.problem}`;
  return [
    line('not stored', `${named}: passed through, and fetched by each node itself`),
    line('', printable(`the last: ${of}`)),
  ];
}

/** Lines of whole words; a word that is longer than a line is cut. */
function wrap(text: string, columns: number): readonly string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const longer = `${lines.at(-1)} ${word}`;
    if (lines.length > 0 && cut(longer, columns) === longer) lines[lines.length - 1] = longer;
    else lines.push(cut(word, columns));
  }
  return lines;
}

/** `reloaded 3 m ago; after a restart: mirror.listen` */
function describeReload({ at, error, waiting }: ReloadReport, now: number): string {
  const ago = `${formatAge(Math.max(0, (now - Date.parse(at)) / 1000))} ago`;
  if (error !== undefined) return `not reloaded ${ago}: ${printable(error)}`;
  return `reloaded ${ago}${waiting.length > 0 ? `; after a restart: ${printable(waiting.join(', '))}` : ''}`;
}

type Painter = (tone: Tone, text: string) => string;

function zonesOf({ cluster }: StatusReport): string {
  const zones = Object.entries(cluster.zones).sort(([a], [b]) => a.localeCompare(b));
  if (zones.length === 0 || (zones.length === 1 && zones[0]?.[0] === '')) return '';
  const named = zones.map(([zone, count]) => `${zone === '' ? 'no zone' : printable(zone)} ${count}`);
  return ` (${named.join(', ')})`;
}

const MODES: Readonly<Record<StatusReport['cluster']['mode'], (members: string) => string>> = {
  off: () => 'off: this node is on its own',
  loopback: (members) => `${members}; no cluster key: this machine only`,
  open: (members) => `${members}; no cluster key: open to anybody`,
  keyed: (members) => members,
};

function describeSaved({ totals }: StatusReport): string {
  if (totals.to_runtimes === 0) return 'nothing yet: no runtime has pulled through this node';
  const share = formatShare(totals.saved, totals.to_runtimes);
  return `${formatBytes(totals.saved)}: ${share} of the bytes for runtimes did not come from a registry`;
}

/** `4.0 / 20.0 GiB in 21 blobs (1.2 GiB pinned), 50 % of the disk free` */
export function describeStore(store: StoreReport): string {
  const used = formatPart(store.bytes + store.partial_bytes, store.quota);
  const pinned = store.pins === 0 ? '' : ` (${formatBytes(store.pinned_bytes)} pinned)`;
  const free = formatShare(store.disk_free_bytes, store.disk_bytes);
  return `${used} in ${store.blobs} blobs${pinned}, ${free} of the disk free`;
}

const STORE_PROBLEMS: Readonly<Record<StoreReport['state'], string>> = {
  normal: '',
  shrinking: 'the disk is filling up: the store shrinks',
  stopped: 'the disk is almost full: nothing new is stored',
  unwritable: 'the data folder cannot be written: nothing new is stored',
};

function renderTransfers(report: StatusReport, options: StatusViewOptions, tone: Painter): readonly string[] {
  const running = report.transfers.filter(({ state }) => state === 'pulling');
  const ended = report.transfers.filter(({ state }) => state !== 'pulling');
  const shown = [...running, ...ended.slice(0, MAX_ENDED)];
  if (shown.length === 0) return ['', `${tone('bold', 'transfers')}  none in the last 10 minutes`];
  const key = legend(['upstream', 'peers', 'local'], options.color);
  const counts = `${running.length} running, ${ended.length} ended`;
  const lines = ['', `${tone('bold', 'transfers')}  ${counts.padEnd(24)}${key}`];
  for (const [image, transfers] of groupByImage(shown)) {
    lines.push(`  ${cut(printable(image), options.columns - 2)}`);
    for (const transfer of transfers) lines.push(...transferLines(transfer, options, tone));
  }
  if (ended.length > MAX_ENDED) lines.push(`  and ${ended.length - MAX_ENDED} more that ended`);
  return lines;
}

function groupByImage(transfers: readonly TransferReport[]): ReadonlyMap<string, readonly TransferReport[]> {
  return Map.groupBy(transfers, ({ registry, repository }) => `${registry}/${repository}`);
}

function transferLines(
  transfer: TransferReport,
  options: StatusViewOptions,
  tone: Painter,
): readonly string[] {
  const { size, present_bytes: present, state, sources } = transfer;
  const width = Math.max(MIN_BAR, Math.min(MAX_BAR, options.columns - FIXED_COLUMNS));
  const shares = [
    ['local', sources.local],
    ['upstream', sources.upstream],
    ['peers', sources.peers],
  ] as const;
  const whole = Math.max(size, sources.local + sources.upstream + sources.peers); // chunks may come twice
  const bar = drawCells(shareCells(shares, whole, width), options.color);
  const bytes = state === 'complete' ? formatBytes(size) : formatPart(present, size);
  const line = `    ${shortDigest(transfer.digest)}  ${bar}  ${formatShare(present, size).padStart(5)}  ${bytes.padStart(18)}`;
  if (state === 'pulling') return [`${line}  ${rateOf(transfer, options)}`.trimEnd()];
  const took = `in ${formatSeconds(transfer.seconds)}`;
  if (state === 'complete') return [`${line}  ${took}`];
  const problem = cut(printable(transfer.error ?? 'failed'), options.columns - 8);
  return [`${line}  ${tone('red', 'failed')}`, `      ${tone('red', problem)}`];
}

function rateOf(transfer: TransferReport, { before }: StatusViewOptions): string {
  const earlier = before?.report.transfers.find(
    ({ digest, registry }) => digest === transfer.digest && registry === transfer.registry,
  );
  if (before === undefined || earlier === undefined) {
    return formatRate(Math.max(0, transfer.present_bytes - transfer.sources.local), transfer.seconds);
  }
  return formatRate(Math.max(0, transfer.present_bytes - earlier.present_bytes), before.seconds);
}

function renderLastImages(
  { images }: StatusReport,
  options: StatusViewOptions,
  tone: Painter,
): readonly string[] {
  if (images.length === 0) return [];
  return [
    '',
    `${tone('bold', 'images')}     the last ${images.length}; weir pulls tells more`,
    ...renderImages(images, options),
  ];
}

function renderSuspects(report: StatusReport, options: StatusViewOptions, tone: Painter): readonly string[] {
  if (report.suspects.length === 0) return [];
  const lines = report.suspects.map((suspect) =>
    cut(
      `  ${printable(suspect.name)} ${shortPeer(suspect.peer)}  ${describeSuspicion(suspect, options.now)}`,
      options.columns,
    ),
  );
  return ['', tone('yellow', 'suspects'), ...lines];
}

/** `stalled, 25 s left`; `banned: wrong-hash, 5 m left` */
export function describeSuspicion(suspect: Omit<SuspectReport, 'peer' | 'name'>, now: number): string {
  const left = Math.max(0, (Date.parse(suspect.until) - now) / 1000);
  const reason = printable(suspect.reason);
  return `${suspect.banned ? `banned: ${reason}` : reason}, ${formatAge(Math.ceil(left))} left`;
}
