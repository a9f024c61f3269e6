/** `weir peers` */
import { renderPeers } from '../client/peers-view.ts';
import { DEFAULT_COLUMNS, type TerminalOutput } from '../client/terminal.ts';
import { systemClock } from '../../util/clock.ts';
import { AdminClient } from '../../status/admin-client.ts';
import { adminAddress, explainSilence } from '../admin-address.ts';
import { wantsColor, withSignals, type CliContext } from '../context.ts';

export async function runPeersCommand(
  options: Readonly<Record<string, unknown>>,
  context: CliContext,
): Promise<void> {
  const address = await adminAddress(options, context);
  const report = await withSignals(async (signal) => {
    await using client = new AdminClient(address.url);
    return await client.peers({ signal }).catch((error: unknown) => {
      throw explainSilence(error, address);
    });
  });
  if (options['json'] === true) {
    context.stdout.write(`${JSON.stringify(report)}\n`);
    return;
  }
  const output: TerminalOutput = context.stdout;
  const isTerminal = output.isTTY === true;
  const lines = renderPeers(report, {
    columns: isTerminal ? (output.columns ?? DEFAULT_COLUMNS) : undefined,
    color: isTerminal && wantsColor(context),
    now: systemClock.now(),
  });
  context.stdout.write(`${lines.join('\n')}\n`);
}
