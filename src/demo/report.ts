/** What the demo found: a table of cold against warm, and what is wrong. Pure. */
import { formatBytes, formatRate, formatSeconds } from '../client/format.ts';
import { paint } from '../client/progress.ts';
import type { PulledImage } from '../client/pull-image.ts';
import type { UpstreamCount } from './upstream.ts';

/** Registry bytes over image bytes that a cold pull may cost: requests repeated after a cut, and no more. */
export const MAX_COLD_SHARE = 1.05;

export interface PullOutcome {
  readonly pulled: PulledImage;
  /** What left the registry for this pull. */
  readonly upstream: UpstreamCount;
}

export interface DemoOutcome {
  readonly cold: PullOutcome;
  readonly warm: PullOutcome;
  readonly isNodeRunning: boolean;
}

/** Bytes of configs and layers: what a registry's blob bytes are held against. */
export function blobBytes(pulled: PulledImage): number {
  const blobs = pulled.blobs.filter(({ role }) => role === 'config' || role === 'layer');
  return blobs.reduce((sum, { size }) => sum + size, 0);
}

/** All that is wrong, one line each; none: all is well. */
export function findProblems({ cold, warm, isNodeRunning }: DemoOutcome): readonly string[] {
  const problems: string[] = [];
  const image = blobBytes(cold.pulled);
  if (!isNodeRunning) problems.push('the node ended by itself');
  if (cold.pulled.digest !== warm.pulled.digest) problems.push('the second pull brought another image');
  if (cold.upstream.blobBytes > image * MAX_COLD_SHARE) {
    problems.push(
      `the cold pull cost the registry ${formatBytes(cold.upstream.blobBytes)} for ${formatBytes(image)}`,
    );
  }
  if (warm.upstream.blobBytes > 0) {
    problems.push(`the warm pull cost the registry ${formatBytes(warm.upstream.blobBytes)} of blobs`);
  }
  return problems;
}

/** The table, a line per row. */
export function renderTable(
  { cold, warm }: DemoOutcome,
  options: { readonly color: boolean },
): readonly string[] {
  const both = (read: (outcome: PullOutcome) => string): readonly string[] => [read(cold), read(warm)];
  const rows: readonly (readonly [string, ...(readonly string[])])[] = [
    ['', 'cold', 'warm'],
    ['time', ...both(({ pulled }) => formatSeconds(pulled.seconds))],
    ['first byte', ...both(({ pulled }) => formatSeconds(pulled.firstByteSeconds))],
    ['throughput', ...both(({ pulled }) => formatRate(pulled.bytes, pulled.seconds))],
    ['image', ...both(({ pulled }) => formatBytes(blobBytes(pulled)))],
    ['from the registry', ...both(({ upstream }) => formatBytes(upstream.blobBytes))],
    ['registry requests', ...both(({ upstream }) => String(upstream.requests))],
    ['digests checked', ...both(({ pulled }) => String(pulled.blobs.length))],
  ];
  return rows.map(([label, ...cells], index) => {
    const line = `  ${label.padEnd(19)}${cells.map((cell) => cell.padStart(15)).join('')}`;
    return index === 0 && options.color ? paint('bold', line) : line;
  });
}
