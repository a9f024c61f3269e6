/** The blobs in the store of a node as a table for people. Pure. */
import type { StoredBlobReport, StoreListing } from '../../status/store-report.ts';
import { formatAge, formatBytes, shortDigest } from './format.ts';
import { describeStore } from './status-view.ts';
import { cut, paint, printable } from './terminal.ts';

export interface StoreViewOptions {
  /** Undefined: no limit, for a pipe. */
  readonly columns: number | undefined;
  readonly color: boolean;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

const HEAD = ['DIGEST', 'SIZE', 'LAST USE', 'STATE', 'VERIFIED', 'KIND', 'FROM'];
/** Columns of figures, aligned to the right. */
const RIGHT: ReadonlySet<number> = new Set([1, 2, 4]);

export function renderStore({ blobs, store }: StoreListing, options: StoreViewOptions): readonly string[] {
  const fit = (line: string): string => (options.columns === undefined ? line : cut(line, options.columns));
  const rows = [HEAD, ...blobs.map((blob) => cellsOf(blob, options.now))];
  const widths = HEAD.map((_, index) => Math.max(...rows.map((row) => row[index]?.length ?? 0)));
  const lines = rows.map((row, index) => {
    const cells = row.map((cell, at) =>
      RIGHT.has(at) ? cell.padStart(widths[at] ?? 0) : cell.padEnd(widths[at] ?? 0),
    );
    const line = fit(cells.join('  ').trimEnd());
    return options.color && index === 0 ? paint('bold', line) : line;
  });
  const hidden = store.blobs - blobs.length;
  const more = hidden > 0 ? [fit(`and ${hidden} more`)] : [];
  return [...(blobs.length === 0 ? [] : lines), ...more, fit(describeStore(store))];
}

function cellsOf(blob: StoredBlobReport, now: number): readonly string[] {
  const [first = '–', ...others] = blob.repositories;
  const age = (time: string): string => formatAge(Math.max(0, (now - Date.parse(time)) / 1000));
  // It was pulled beforehand, and has its last use in the future.
  const isKept = Date.parse(blob.last_used) > now;
  return [
    shortDigest(blob.digest),
    formatBytes(blob.size),
    age(blob.last_used),
    [blob.pinned ? 'pinned' : '', isKept ? 'kept' : '', blob.in_use ? 'in use' : '']
      .filter(Boolean)
      .join(', ') || '–',
    blob.verified === undefined ? '–' : age(blob.verified),
    blob.kind ?? '–',
    printable(first) + (others.length === 0 ? '' : ` and ${others.length} more`),
  ];
}
