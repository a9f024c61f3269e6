/** `weir demo` */
import { DEFAULT_NODES, MAX_NODES, runDemo } from '../demo/demo.ts';
import { WeirError } from '../../util/errors.ts';
import { wantsColor, withSignals, type CliContext } from '../context.ts';
import { EXIT } from '../exit-codes.ts';
import { userAuthFiles } from '../client/auth-files.ts';

/** Resolves with the exit code. */
export async function runDemoCommand(
  options: Readonly<Record<string, unknown>>,
  context: CliContext,
): Promise<number> {
  const wanted = options['image'] ?? context.env['IMAGE'];
  const nodes = parseNodes(options['nodes'] ?? context.env['NODES']);
  const succeeded = await withSignals(
    (signal) =>
      runDemo({
        nodes,
        image: typeof wanted === 'string' && wanted !== '' ? wanted : undefined,
        dockerConfig: userAuthFiles(context.env)[0], // a node takes one file
        output: context.stdout,
        color: context.stdout.isTTY === true && wantsColor(context),
        env: context.env,
        signal,
      }),
    ['SIGHUP'], // the terminal is closed: the nodes must not outlive it
  );
  return succeeded ? EXIT.ok : EXIT.failed;
}

/** @throws WeirError `bad_request` */
function parseNodes(wanted: unknown): number {
  if (typeof wanted !== 'string' || wanted === '') return DEFAULT_NODES;
  const nodes = /^\d{1,4}$/.test(wanted) ? Number(wanted) : 0;
  if (nodes >= 1 && nodes <= MAX_NODES) return nodes;
  const shown = JSON.stringify(wanted.slice(0, 80));
  throw new WeirError(
    'bad_request',
    `--nodes: ${shown} is no number of nodes (allowed: a whole number from 1 to ${MAX_NODES})`,
  );
}
