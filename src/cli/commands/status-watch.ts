/**
 * `weir status --watch`: asks the node at intervals. A terminal shows one picture, redrawn in place. Other outputs get a
 * block of lines each time, or one line with --json. If the node does not answer, it may be restarting: the command
 * waits and shows whether it comes back.
 */
import { cut, DEFAULT_COLUMNS, DEFAULT_ROWS, fitRows, type TerminalOutput } from '../client/terminal.ts';
import { SECOND, type Clock } from '../../util/clock.ts';
import { errorMessage, isWeirError } from '../../util/errors.ts';
import type { AdminClient } from '../../status/admin-client.ts';
import type { StatusReport } from '../../status/status-report.ts';

/** Milliseconds between two pictures in a terminal. */
const REDRAW_INTERVAL = 0.5 * SECOND;
/** Milliseconds between two blocks for a log or a pipe. */
const LINES_INTERVAL = 2 * SECOND;
/** Milliseconds over which rates are taken: shorter ones would change too fast to read. */
const RATE_SPAN = 2 * SECOND;

export interface StatusScreen {
  readonly output: TerminalOutput;
  /** The output for outages, as the other one may be for programs. */
  readonly problems: { write(text: string): unknown };
  readonly json: boolean;
  render(
    report: StatusReport,
    before: { readonly report: StatusReport; readonly seconds: number } | undefined,
  ): readonly string[];
}

interface Seen {
  readonly report: StatusReport;
  /** Monotonic milliseconds. */
  readonly at: number;
}

/** Runs until the signal is aborted. @throws the signal's reason */
export async function watchStatus(
  client: Pick<AdminClient, 'status' | 'origin'>,
  screen: StatusScreen,
  options: { readonly clock: Clock; readonly signal: AbortSignal },
): Promise<never> {
  const { clock, signal } = options;
  const isTerminal = screen.output.isTTY === true && !screen.json;
  using paper = isTerminal ? await terminalPaper(screen.output) : plainPaper(screen);
  let seen: readonly Seen[] = [];
  let silentSince: number | undefined;
  for (;;) {
    const now = clock.monotonic();
    try {
      const report = await client.status({ signal });
      silentSince = undefined;
      seen = [...seen.filter(({ at }) => now - at <= RATE_SPAN), { report, at: now }];
      const [first] = seen;
      const before =
        first === undefined || first.at === now
          ? undefined
          : { report: first.report, seconds: (now - first.at) / 1000 };
      paper.show(screen.json ? [JSON.stringify(report)] : screen.render(report, before));
    } catch (error) {
      signal.throwIfAborted();
      if (!isWeirError(error)) throw error;
      silentSince ??= now;
      seen = [];
      const cause = error.cause === undefined ? '' : errorMessage(error.cause);
      paper.miss(error.message, cause, (now - silentSince) / 1000);
    }
    await clock.sleep(isTerminal ? REDRAW_INTERVAL : LINES_INTERVAL, { signal });
  }
}

interface Paper extends Disposable {
  show(lines: readonly string[]): void;
  /** @param seconds since the first report in a row that did not come */
  miss(problem: string, cause: string, seconds: number): void;
  [Symbol.dispose](): void;
}

async function terminalPaper(output: TerminalOutput): Promise<Paper> {
  const { createLogUpdate } = await import('log-update');
  const update = createLogUpdate(output);
  let last: readonly string[] = [];
  const draw = (lines: readonly string[]): void =>
    update(fitRows(lines, output.rows ?? DEFAULT_ROWS).join('\n'));
  return {
    show: (lines) => {
      last = lines;
      draw(lines);
    },
    miss: (problem, cause, seconds) => {
      const text = `${problem}; waiting for it: ${Math.floor(seconds)} s${inBrackets(cause)}`;
      const waiting = cut(text, output.columns ?? DEFAULT_COLUMNS);
      draw(last.length === 0 ? [waiting] : [waiting, 'Last report:', '', ...last]);
    },
    [Symbol.dispose]: () => update.done(),
  };
}

function plainPaper({ output, problems, json }: StatusScreen): Paper {
  let isFirst = true;
  let isSilent = false;
  return {
    show: (lines) => {
      isSilent = false;
      output.write(`${isFirst || json ? '' : '\n'}${lines.join('\n')}\n`);
      isFirst = false;
    },
    miss: (problem, cause) => {
      if (!isSilent) problems.write(`weir: ${problem}; waiting for it${inBrackets(cause)}\n`);
      isSilent = true;
    },
    [Symbol.dispose]: () => undefined,
  };
}

function inBrackets(text: string): string {
  return text === '' ? '' : ` (${text})`;
}
