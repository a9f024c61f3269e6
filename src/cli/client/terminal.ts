/** The parts of all pictures in a terminal: colours, cells that show a source, lines of a bounded width. Pure. */
import { stripVTControlCharacters, styleText } from 'node:util';

/** Columns and rows of a terminal that does not say how large it is. */
export const DEFAULT_COLUMNS = 80;
export const DEFAULT_ROWS = 24;

export type TerminalOutput = NodeJS.WritableStream & {
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
  readonly rows?: number | undefined;
};

export type Tone = Parameters<typeof styleText>[0];

/** `text` with colour codes, whatever the stream: the caller has decided. */
export function paint(tone: Tone, text: string): string {
  return text === '' ? '' : styleText(tone, text, { validateStream: false });
}

/** The source of a part of some content; `none`: the part is not here yet. */
export type Cell = 'upstream' | 'peers' | 'local' | 'none';

/** Sources differ by shape too, as not all readers see colours, and not all outputs have them. */
const CELLS: Readonly<Record<Cell, { readonly glyph: string; readonly tone: Tone; readonly means: string }>> =
  {
    upstream: { glyph: '█', tone: 'yellow', means: 'from the registry' },
    peers: { glyph: '▒', tone: 'green', means: 'from peers' },
    local: { glyph: '▪', tone: 'cyan', means: 'was here' },
    none: { glyph: '·', tone: 'dim', means: 'not here yet' },
  };

export function drawCells(cells: readonly Cell[], color: boolean): string {
  let drawn = '';
  for (let at = 0; at < cells.length;) {
    const cell = cells[at] ?? 'none';
    let end = at;
    while (end < cells.length && cells[end] === cell) end += 1;
    const run = CELLS[cell].glyph.repeat(end - at);
    drawn += color ? paint(CELLS[cell].tone, run) : run;
    at = end;
  }
  return drawn;
}

/** `█ from the registry  ▒ from peers` */
export function legend(cells: readonly Cell[], color: boolean): string {
  return cells.map((cell) => `${drawCells([cell], color)} ${CELLS[cell].means}`).join('  ');
}

/** A bar of shares of `whole`, in this order; the rest is not here yet. */
export function shareCells(
  shares: readonly (readonly [Cell, number])[],
  whole: number,
  width: number,
): readonly Cell[] {
  const cells: Cell[] = [];
  let sum = 0;
  for (const [cell, share] of shares) {
    sum += share;
    const until = whole === 0 ? 0 : Math.min(width, Math.floor((sum / whole) * width));
    while (cells.length < until) cells.push(cell);
  }
  while (cells.length < width) cells.push('none');
  return cells;
}

/** Foreign text (a peer's name, an error) on one line: it must not move the cursor or repaint the screen. */
export function printable(text: string): string {
  return stripVTControlCharacters(text).replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, ' ');
}

/** `text` in at most `width` columns, with an ellipsis if it was longer. */
export function cut(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}…`;
}

/** As many lines as fit on a screen of `rows`: a taller picture cannot be redrawn in place. */
export function fitRows(lines: readonly string[], rows: number): readonly string[] {
  const most = Math.max(2, rows - 1); // one line is for the cursor behind the picture
  if (lines.length <= most) return lines;
  return [...lines.slice(0, most - 1), `  … ${lines.length - most + 1} more lines`];
}
