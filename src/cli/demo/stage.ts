/** Shows the demo's picture: redrawn in place in a terminal, else a line at intervals. The last picture stays. */
import { DEFAULT_COLUMNS, DEFAULT_ROWS, type TerminalOutput } from '../client/terminal.ts';
import { SECOND } from '../../util/clock.ts';
import { renderLine, renderPicture, type Scene } from './picture.ts';

/** Milliseconds between two pictures. */
const REDRAW_INTERVAL = 150;
/** Milliseconds between two lines, without a terminal. */
const LINE_INTERVAL = 1 * SECOND;

export async function createStage(
  output: TerminalOutput,
  options: { readonly color: boolean; readonly scene: () => Scene },
): Promise<Disposable> {
  const { color, scene } = options;
  const picture = (rows: number): string =>
    renderPicture(scene(), { columns: output.columns ?? DEFAULT_COLUMNS, rows, color }).join('\n');
  if (output.isTTY !== true) {
    output.write(`${scene().title}\n`);
    const timer = setInterval(() => output.write(`${renderLine(scene())}\n`), LINE_INTERVAL);
    return {
      [Symbol.dispose]: () => {
        clearInterval(timer);
        const [, ...lines] = picture(Infinity).split('\n'); // the title has been printed
        output.write(`${lines.join('\n')}\n`);
      },
    };
  }
  const { createLogUpdate } = await import('log-update');
  const update = createLogUpdate(output);
  const draw = (): void => update(picture(output.rows ?? DEFAULT_ROWS));
  const timer = setInterval(draw, REDRAW_INTERVAL);
  draw();
  return {
    [Symbol.dispose]: () => {
      clearInterval(timer);
      draw();
      update.done();
    },
  };
}
