/** A table of text. Pure. */
import type { Spread } from '../../test/simulator/stats.ts';

/** The first cell is the row's name. Fewer cells than columns leave the rest empty; none: an empty line. */
export type Row = readonly string[];

/** Columns are as wide as their widest cell; names stand left, figures right, the last column left. */
export function formatTable(rows: readonly Row[]): string {
  const columns = Math.max(...rows.map((row) => row.length));
  const widths = Array.from({ length: columns }, (_, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0)),
  );
  const lines = rows.map((row) =>
    widths
      .map((width, column) => {
        const cell = row[column] ?? '';
        return column === 0 || column === columns - 1 ? cell.padEnd(width) : cell.padStart(width);
      })
      .join('  ')
      .trimEnd(),
  );
  return lines.join('\n');
}

/** The median, and the lowest and the highest value. */
export function formatSpread({ median, min, max }: Spread, digits: number): string {
  return `${median.toFixed(digits)} (${min.toFixed(digits)}–${max.toFixed(digits)})`;
}
