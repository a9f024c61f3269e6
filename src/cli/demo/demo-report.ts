/** The demo's result: a table of its waves, and its problems. Pure. */
import { formatBytes, formatSeconds } from '../client/format.ts';
import type { PulledImage } from '../client/pull-image.ts';
import { paint } from '../client/terminal.ts';
import type { WaveOutcome } from './wave.ts';

/** Ratio of registry bytes to image bytes that the swarm may cost: it allows for chunks that two nodes had to fetch. */
export const MAX_SWARM_SHARE = 1.1;

/** Speed-up of the swarm from which on it is told: noise of the machine cannot be taken for it. */
const TOLD_SPEED_UP = 3;

export interface DemoOutcome {
  /** Clients without nodes. */
  readonly direct: WaveOutcome;
  /** All nodes at once. */
  readonly swarm: WaveOutcome;
  /** A node that came late; with one node in all, that node again. */
  readonly last: WaveOutcome;
  /** Nodes of the swarm. */
  readonly nodes: number;
  /** Problems of the ends of nodes. */
  readonly endings: readonly string[];
}

/** Bytes of configs and layers, to compare with the registry's blob bytes. */
export function blobBytes(pulled: PulledImage): number {
  const blobs = pulled.blobs.filter(({ role }) => role === 'config' || role === 'layer');
  return blobs.reduce((sum, { size }) => sum + size, 0);
}

function imageBytes({ pulls }: WaveOutcome): number {
  return Math.max(0, ...pulls.map(({ pulled }) => (pulled === undefined ? 0 : blobBytes(pulled))));
}

function checkedDigests({ pulls }: WaveOutcome): number {
  return pulls.reduce((sum, { pulled }) => sum + (pulled?.blobs.length ?? 0), 0);
}

/** All problems; none if all is well. */
export function findProblems(outcome: DemoOutcome): readonly string[] {
  const { direct, swarm, last, nodes, endings } = outcome;
  const problems: string[] = [];
  for (const { name, error } of [direct, swarm, last].flatMap(({ pulls }) => pulls)) {
    if (error !== undefined) problems.push(`${name} could not pull: ${error.message}`);
  }
  const all = [direct, swarm, last].flatMap(({ pulls }) =>
    pulls.flatMap(({ pulled }) => pulled?.digest ?? []),
  );
  if (new Set(all).size > 1) problems.push('not all pulls brought the same image');
  const image = imageBytes(swarm);
  if (swarm.registryBytes > image * MAX_SWARM_SHARE) {
    const cost = `${formatBytes(swarm.registryBytes)} for an image of ${formatBytes(image)}`;
    problems.push(`${nodes === 1 ? 'the cold pull' : 'the swarm'} cost the registry ${cost}`);
  }
  if (last.registryBytes > 0) {
    const who = nodes === 1 ? 'the warm pull' : 'the late joiner';
    problems.push(`${who} cost the registry ${formatBytes(last.registryBytes)} of blobs`);
  }
  return [...problems, ...endings];
}

/** The successes of an outcome without problems. */
export function findMerits(outcome: DemoOutcome): readonly string[] {
  const { direct, swarm, last, nodes } = outcome;
  const digests = checkedDigests(direct) + checkedDigests(swarm) + checkedDigests(last);
  const merits = [`every digest is right, all ${digests} of them`];
  const [before, now] = [formatSeconds(direct.seconds), formatSeconds(swarm.seconds)];
  if (nodes === 1)
    return [...merits, `${now} cold, ${formatSeconds(last.seconds)} warm, nothing fetched twice`];
  const times = direct.seconds / swarm.seconds;
  const isTold = times >= TOLD_SPEED_UP;
  return [
    ...merits,
    `the registry sent ${ratio(swarm)} images, not ${ratio(direct)}`,
    ...(times > 1
      ? [
          `${nodes} nodes in ${now} instead of ${before}${isTold ? `: ${times.toFixed(1)} times as fast` : ''}`,
        ]
      : []),
    `a node that came later got all of it from its peers in ${formatSeconds(last.seconds)}`,
  ];
}

/** What the outcome does not show, although it has no problem. */
export function findShortfalls({ direct, swarm, nodes }: DemoOutcome): readonly string[] {
  if (nodes === 1 || direct.seconds > swarm.seconds) return [];
  const [before, now] = [formatSeconds(direct.seconds), formatSeconds(swarm.seconds)];
  return [
    `no time was saved here: ${nodes} nodes took ${now}, and ${before} without Weir. This machine's processors, or the ` +
      'registry that all reach equally fast, were the bound, and not a registry that all wait for',
  ];
}

function ratio(wave: WaveOutcome): string {
  const image = imageBytes(wave);
  return image === 0 ? '–' : (wave.registryBytes / image).toFixed(2);
}

/** The table, a line per row. */
export function renderTable(outcome: DemoOutcome, options: { readonly color: boolean }): readonly string[] {
  const { direct, swarm, last, nodes } = outcome;
  const waves = [direct, swarm, last];
  const each = (read: (wave: WaveOutcome) => string): readonly string[] => waves.map(read);
  const titles = nodes === 1 ? ['node, cold', 'node, warm'] : ['swarm', 'late joiner'];
  // A single node cannot be compared with so many clients.
  const speedUp = (wave: WaveOutcome): string =>
    wave.pulls.length === direct.pulls.length ? `${(direct.seconds / wave.seconds).toFixed(1)} ×` : '–';
  const rows: readonly (readonly string[])[] = [
    ['', 'registry only', ...titles],
    ['pulls at once', ...each(({ pulls }) => String(pulls.length))],
    ['time', ...each(({ seconds }) => formatSeconds(seconds))],
    ['speed-up', '–', ...[swarm, last].map(speedUp)],
    ['image', ...each((wave) => formatBytes(imageBytes(wave)))],
    ['from the registry', ...each(({ registryBytes }) => formatBytes(registryBytes))],
    ['registry / image', ...each((wave) => `${ratio(wave)} ×`)],
    ['from peers', '–', ...[swarm, last].map(({ peerBytes }) => formatBytes(peerBytes))],
    ['registry requests', ...each(({ registryRequests }) => String(registryRequests ?? '–'))],
    ['digests checked', ...each((wave) => describeDigests(wave))],
  ];
  return rows.map(([label = '', ...cells], index) => {
    const line = `  ${label.padEnd(20)}${cells.map((cell) => cell.padStart(16)).join('')}`;
    return index === 0 && options.color ? paint('bold', line) : line;
  });
}

/** `5 × 8` */
function describeDigests(wave: WaveOutcome): string {
  const counts = new Set(wave.pulls.map(({ pulled }) => pulled?.blobs.length ?? 0));
  const [count] = counts;
  return counts.size === 1 ? `${wave.pulls.length} × ${count ?? 0}` : String(checkedDigests(wave));
}
