/** Shows a running order to preheat: redrawn in place in a terminal, a line for each change elsewhere (a log, a pipe). */
import type { PreheatReport } from '../../status/preheat-report.ts';
import { renderPreheat } from './preheat-view.ts';
import { DEFAULT_COLUMNS, DEFAULT_ROWS, type TerminalOutput } from './terminal.ts';

export interface PreheatDisplay extends Disposable {
  /** @param isLast whether nothing changes any more */
  show(report: PreheatReport, isLast: boolean): void;
}

export async function createPreheatDisplay(
  output: TerminalOutput,
  { color }: { readonly color: boolean },
): Promise<PreheatDisplay> {
  if (output.isTTY !== true) return plainDisplay(output);
  const { createLogUpdate } = await import('log-update');
  const update = createLogUpdate(output);
  return {
    show: (report) => {
      const columns = output.columns ?? DEFAULT_COLUMNS;
      const rows = output.rows ?? DEFAULT_ROWS;
      update(renderPreheat(report, { columns, rows, color }).join('\n'));
    },
    [Symbol.dispose]: () => update.done(),
  };
}

/** The second line of the picture says how many are done. */
function plainDisplay(output: TerminalOutput): PreheatDisplay {
  let before = '';
  return {
    show: (report, isLast) => {
      const lines = renderPreheat(report, {
        columns: Number.MAX_SAFE_INTEGER,
        rows: undefined,
        color: false,
      });
      const shown = isLast ? lines : lines.slice(report.images.length, report.images.length + 1);
      const text = shown.join('\n');
      if (text !== before) output.write(`${text}\n`);
      before = text;
    },
    [Symbol.dispose]: () => undefined,
  };
}
