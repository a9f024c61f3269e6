/** Shows a running pull: redrawn in place in a terminal, plain lines elsewhere (a log, a pipe). */
import { SECOND, systemClock, type Clock } from '../../util/clock.ts';
import { formatBytes, formatPart, formatSeconds, shortDigest } from './format.ts';
import { PullProgress } from './progress.ts';
import type { PullEvent } from './pull-image.ts';
import { DEFAULT_COLUMNS, type TerminalOutput } from './terminal.ts';

/** Milliseconds between two pictures. */
const REDRAW_INTERVAL = 100;

/** Milliseconds between two lines about a running pull, without a terminal. */
const LINE_INTERVAL = 2 * SECOND;

export interface PullDisplay extends Disposable {
  readonly onProgress: (event: PullEvent) => void;
  /** Leaves the last picture on the screen. */
  [Symbol.dispose](): void;
}

export async function createPullDisplay(
  output: TerminalOutput,
  options: { readonly color: boolean; readonly clock?: Clock | undefined },
): Promise<PullDisplay> {
  const clock = options.clock ?? systemClock;
  if (output.isTTY !== true) return plainDisplay(output, clock);
  const { createLogUpdate } = await import('log-update');
  const update = createLogUpdate(output);
  const progress = new PullProgress();
  const started = clock.monotonic();
  const draw = (): void => {
    const seconds = (clock.monotonic() - started) / 1000;
    const columns = output.columns ?? DEFAULT_COLUMNS;
    update(progress.render({ columns, color: options.color, seconds }).join('\n'));
  };
  const timer = setInterval(draw, REDRAW_INTERVAL);
  draw();
  return {
    onProgress: (event) => progress.apply(event),
    [Symbol.dispose]: () => {
      clearInterval(timer);
      draw();
      update.done();
    },
  };
}

function plainDisplay(output: TerminalOutput, clock: Clock): PullDisplay {
  const progress = new PullProgress();
  let lastLine = clock.monotonic();
  const line = (text: string): void => {
    output.write(`  ${text}\n`);
    lastLine = clock.monotonic();
  };
  return {
    onProgress: (event) => {
      progress.apply(event);
      if (event.kind === 'planned') {
        line(`${event.blobs.length} blobs, ${formatBytes(progress.total)}`);
      } else if (event.kind === 'finished') {
        const { blob, result } = event;
        const size = formatBytes(blob.size);
        line(
          `${blob.role} ${shortDigest(blob.digest)}: ${size} in ${formatSeconds(result.seconds)} from ${result.source}`,
        );
      } else if (event.kind === 'retry') {
        line(
          `${event.blob.role} ${shortDigest(event.blob.digest)}: requested again from byte ${event.received}`,
        );
      } else if (clock.monotonic() - lastLine >= LINE_INTERVAL) {
        line(formatPart(progress.received, progress.total));
      }
    },
    [Symbol.dispose]: () => undefined,
  };
}
