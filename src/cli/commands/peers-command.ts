/** `weir peers` */
import { renderPeers } from '../client/peers-view.ts';
import { DEFAULT_COLUMNS, type TerminalOutput } from '../client/terminal.ts';
import { systemClock } from '../../util/clock.ts';
import { adminAddress, askNode } from '../admin-address.ts';
import { wantsColor, type CliContext } from '../context.ts';

export async function runPeersCommand(
  options: Readonly<Record<string, unknown>>,
  context: CliContext,
): Promise<void> {
  const address = await adminAddress(options, context);
  const report = await askNode(address, (client, signal) => client.peers({ signal }));
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
