/** `weir status` and `weir status --watch` */
import { renderStatus, type StatusViewOptions } from '../client/status-view.ts';
import { DEFAULT_COLUMNS, type TerminalOutput } from '../client/terminal.ts';
import { systemClock } from '../../util/clock.ts';
import { AdminClient } from '../../status/admin-client.ts';
import { adminAddress, explainSilence } from '../admin-address.ts';
import { wantsColor, withSignals, type CliContext } from '../context.ts';
import { watchStatus, type StatusScreen } from './status-watch.ts';

export async function runStatusCommand(
  options: Readonly<Record<string, unknown>>,
  context: CliContext,
): Promise<void> {
  const address = await adminAddress(options, context);
  const output: TerminalOutput = context.stdout;
  const color = output.isTTY === true && wantsColor(context);
  const view = (before?: StatusViewOptions['before']): StatusViewOptions => ({
    columns: output.columns ?? DEFAULT_COLUMNS,
    color,
    now: systemClock.now(),
    before,
  });
  await withSignals(async (signal) => {
    await using client = new AdminClient(address.url);
    if (options['watch'] === true) {
      const screen: StatusScreen = {
        output,
        problems: context.stderr,
        json: options['json'] === true,
        render: (report, before) => renderStatus(report, view(before)),
      };
      await watchStatus(client, screen, { clock: systemClock, signal });
    }
    const report = await client.status({ signal }).catch((error: unknown) => {
      throw explainSilence(error, address);
    });
    const text = options['json'] === true ? JSON.stringify(report) : renderStatus(report, view()).join('\n');
    output.write(`${text}\n`);
  });
}
