/** `weir pulls` */
import { parseDuration } from '../../config/units.ts';
import type { PullsQuestion } from '../../status/admin-client.ts';
import { SECOND } from '../../util/clock.ts';
import { errorMessage, WeirError } from '../../util/errors.ts';
import { adminAddress, askNode } from '../admin-address.ts';
import { renderPulls } from '../client/pulls-view.ts';
import { DEFAULT_COLUMNS, type TerminalOutput } from '../client/terminal.ts';
import { wantsColor, type CliContext } from '../context.ts';

/** What counts as slow if it is not said: a pull for which somebody waits and wonders. */
const SLOW = '10s';

export async function runPullsCommand(
  options: Readonly<Record<string, unknown>>,
  context: CliContext,
): Promise<void> {
  const { slow, image, limit } = options;
  const least = slow === true ? SLOW : slow;
  const question: PullsQuestion = {
    ...(typeof least === 'string' ? { slow: secondsOf(least) } : {}),
    ...(typeof image === 'string' ? { image } : {}),
    ...(typeof limit === 'string' ? { limit: parseLimit(limit) } : {}),
  };
  const address = await adminAddress(options, context);
  const report = await askNode(address, (client, signal) => client.pulls(question, { signal }));
  if (options['json'] === true) {
    context.stdout.write(`${JSON.stringify(report)}\n`);
    return;
  }
  const output: TerminalOutput = context.stdout;
  const isTerminal = output.isTTY === true;
  const lines = renderPulls(report, {
    columns: isTerminal ? (output.columns ?? DEFAULT_COLUMNS) : undefined,
    color: isTerminal && wantsColor(context),
  });
  context.stdout.write(`${lines.join('\n')}\n`);
}

/** @throws WeirError `bad_request` */
function secondsOf(text: string): number {
  try {
    return parseDuration(text) / SECOND;
  } catch (cause) {
    throw new WeirError('bad_request', `--slow: ${JSON.stringify(text)} ${errorMessage(cause)}`, { cause });
  }
}

/** The node knows the most. @throws WeirError `bad_request` */
function parseLimit(text: string): number {
  if (/^[1-9]\d{0,3}$/.test(text)) return Number(text);
  throw new WeirError(
    'bad_request',
    `--limit: ${JSON.stringify(text.slice(0, 80))} is no number from 1 to 1000`,
  );
}
