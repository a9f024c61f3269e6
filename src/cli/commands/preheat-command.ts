/** `weir preheat` */
import { loadConfig } from '../../config/load.ts';
import { parseDuration } from '../../config/units.ts';
import { readFileBounded } from '../../config/read-file.ts';
import { KIB, SECOND, systemClock } from '../../util/clock.ts';
import { errorMessage, isWeirError, WeirError } from '../../util/errors.ts';
import { parsePlatform } from '../../oci/platform.ts';
import { formatImageReference, parseImageReference } from '../../oci/reference.ts';
import { AdminClient } from '../../status/admin-client.ts';
import { orderPreheat, preheatProgress } from '../../status/preheat-client.ts';
import { isOver, type PreheatReport } from '../../status/preheat-report.ts';
import { createPreheatDisplay } from '../client/preheat-display.ts';
import { renderPreheat } from '../client/preheat-view.ts';
import { DEFAULT_COLUMNS, DEFAULT_ROWS, type TerminalOutput } from '../client/terminal.ts';
import { adminAddress, explainSilence } from '../admin-address.ts';
import { wantsColor, withSignals, type CliContext } from '../context.ts';
import { EXIT } from '../exit-codes.ts';

/** Milliseconds between two questions for the progress. */
const INTERVAL = 1 * SECOND;
/** Bytes of a token file. */
const MAX_TOKEN_BYTES = 4 * KIB;
/** Questions in a row that may fail: the node is busy, or a forwarded port is made anew. */
const MAX_SILENT = 30;

type Options = Readonly<Record<string, unknown>>;

export async function runPreheatCommand(
  images: readonly string[],
  options: Options,
  context: CliContext,
): Promise<number> {
  const file = options['config'];
  const { config } = await loadConfig({
    env: context.env,
    file: typeof file === 'string' ? file : undefined,
    readFile: readFileBounded,
  });
  const body = {
    images: images.map((image) =>
      formatImageReference(parseImageReference(image, config['mirror.default-registry'])),
    ),
    nodes: options['nodes'],
    ...(options['zone'] !== undefined && { zone: options['zone'] }),
    ...platformOf(options['platform']),
    ...startOf(options['at']),
    keep_seconds: seconds('--keep', String(options['keep'])),
  };
  const token = await tokenOf(options['tokenFile'], config['preheat.token-file']);
  const address = await adminAddress(options, context);
  const report = await withSignals(async (signal) => {
    await using client = new AdminClient(address.url);
    const ordered = await orderPreheat(client, body, { token, signal }).catch((error: unknown) => {
      throw explainSilence(error, address);
    });
    if (options['wait'] !== true) return ordered;
    using display =
      options['json'] === true
        ? undefined
        : await createPreheatDisplay(context.stdout, { color: wantsColor(context) });
    display?.show(ordered, isOver(ordered));
    return await follow(client, ordered, {
      token,
      signal,
      onReport: (each) => display?.show(each, isOver(each)),
    });
  });
  print(report, options, context);
  if (options['wait'] !== true) return EXIT.ok;
  return report.state === 'done' ? EXIT.ok : EXIT.partial;
}

async function follow(
  client: AdminClient,
  ordered: PreheatReport,
  {
    token,
    signal,
    onReport,
  }: {
    readonly token: string;
    readonly signal: AbortSignal;
    readonly onReport: (report: PreheatReport) => void;
  },
): Promise<PreheatReport> {
  let report = ordered;
  let silent = 0;
  while (!isOver(report)) {
    await systemClock.sleep(INTERVAL, { signal });
    try {
      report = await preheatProgress(client, ordered.id, { token, signal });
      silent = 0;
      onReport(report);
    } catch (error) {
      silent += 1;
      if (!isWeirError(error, 'upstream_unreachable') || silent >= MAX_SILENT) throw error;
    }
  }
  return report;
}

function print(report: PreheatReport, options: Options, context: CliContext): void {
  if (options['json'] === true) {
    context.stdout.write(`${JSON.stringify(report)}\n`);
    return;
  }
  if (options['wait'] === true) return; // the display has shown it
  const output: TerminalOutput = context.stdout;
  const isTerminal = output.isTTY === true;
  const lines = renderPreheat(report, {
    columns: isTerminal ? (output.columns ?? DEFAULT_COLUMNS) : Number.MAX_SAFE_INTEGER,
    rows: isTerminal ? (output.rows ?? DEFAULT_ROWS) : undefined,
    color: isTerminal && wantsColor(context),
  });
  output.write(`${lines.join('\n')}\n`);
}

function platformOf(text: unknown): { readonly platform?: string } {
  if (typeof text !== 'string') return {};
  parsePlatform(text); // its problem is best told before anything is asked
  return { platform: text };
}

/** RFC 3339, or a duration from now, which the node's own clock measures. */
function startOf(text: unknown): { readonly at?: string; readonly delay_seconds?: number } {
  if (typeof text !== 'string') return {};
  return /^\d{4}-/.test(text) ? { at: text } : { delay_seconds: seconds('--at', text) };
}

/** @throws WeirError `bad_request` */
function seconds(option: string, text: string): number {
  try {
    return parseDuration(text) / SECOND;
  } catch (error) {
    throw new WeirError(
      'bad_request',
      `${option}: ${JSON.stringify(text.slice(0, 80))} ${errorMessage(error)}`,
    );
  }
}

/** @throws WeirError `bad_request` */
async function tokenOf(named: unknown, configured: string): Promise<string> {
  const path = typeof named === 'string' ? named : configured;
  if (path === '') {
    throw new WeirError(
      'bad_request',
      'no token: give --token-file, or set preheat.token-file (docs/operations.md, "Preheat")',
    );
  }
  const text = await readFileBounded(path, MAX_TOKEN_BYTES);
  const token = text?.trim() ?? '';
  if (text === undefined) throw new WeirError('bad_request', `${path}: there is no such token file`);
  // What else it is, a header could not carry.
  if (!/^[A-Za-z0-9._~+/-]+=*$/.test(token)) throw new WeirError('bad_request', `${path} holds no token`);
  return token;
}
