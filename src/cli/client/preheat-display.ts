/** Shows a running order to preheat: redrawn in place in a terminal, a line for each change elsewhere (a log, a pipe). */
import { SECOND, systemClock, type Clock } from '../../util/clock.ts';
import type { PreheatReport } from '../../status/preheat-report.ts';
import { renderPreheat } from './preheat-view.ts';
import { DEFAULT_COLUMNS, DEFAULT_ROWS, type TerminalOutput } from './terminal.ts';

/** Milliseconds between two lines about an order that goes on, without a terminal. */
const LINE_INTERVAL = 10 * SECOND;

export interface PreheatDisplay extends Disposable {
  /** @param isLast whether nothing changes any more */
  show(report: PreheatReport, isLast: boolean): void;
}

export async function createPreheatDisplay(
  output: TerminalOutput,
  { color, clock }: { readonly color: boolean; readonly clock?: Clock },
): Promise<PreheatDisplay> {
  if (output.isTTY !== true) return plainDisplay(output, clock ?? systemClock);
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

/** Without a terminal only the sum is shown: when another node is over, and now and then. */
function plainDisplay(output: TerminalOutput, clock: Clock): PreheatDisplay {
  let before = '';
  let shownAt = Number.NEGATIVE_INFINITY;
  return {
    show: (report, isLast) => {
      const { state, done, skipped, failed, images } = report;
      const counts = [state, done, skipped, failed].join();
      const now = clock.monotonic();
      if (!isLast && counts === before && now - shownAt < LINE_INTERVAL) return;
      [before, shownAt] = [counts, now];
      const lines = renderPreheat(report, {
        columns: Number.MAX_SAFE_INTEGER,
        rows: undefined,
        color: false,
      });
      output.write(`${(isLast ? lines : lines.slice(images.length, images.length + 1)).join('\n')}\n`);
    },
    [Symbol.dispose]: () => undefined,
  };
}
