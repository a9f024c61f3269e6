/** `weir kubernetes zone` and `weir kubernetes wait` */
import { writeFile } from 'node:fs/promises';
import { SECOND, systemClock } from '../../util/clock.ts';
import { errorMessage, WeirError } from '../../util/errors.ts';
import { KubernetesApi } from '../kubernetes/api.ts';
import { untilReady, zoneOf } from '../kubernetes/questions.ts';
import { withSignals, type CliContext } from '../context.ts';

export async function runZoneCommand(
  { node, out }: { readonly node: string; readonly out: string },
  context: CliContext,
): Promise<void> {
  const zone = await withSignals(async (signal) => {
    try {
      await using api = await KubernetesApi.open({ env: context.env });
      return await zoneOf(api, node, signal);
    } catch (error) {
      signal.throwIfAborted();
      context.stderr.write(`weir: warning: the zone of ${node} cannot be read: ${errorMessage(error)}\n`);
      return '';
    }
  });
  await writeFile(out, zone);
  context.stdout.write(`${zone === '' ? `${node} is in no zone` : `${node} is in zone ${zone}`}\n`);
}

export async function runWaitCommand(
  options: { readonly namespace: string; readonly name: string; readonly timeout: number },
  context: CliContext,
): Promise<void> {
  if (!(options.timeout > 0)) throw new WeirError('config_invalid', '--timeout takes seconds, such as 300');
  const timeout = options.timeout * SECOND;
  const nodes = await withSignals(async (signal) => {
    await using api = await KubernetesApi.open({ env: context.env });
    return untilReady(api, options, { clock: systemClock, timeout, signal });
  });
  context.stdout.write(`${options.namespace}/${options.name} is ready on ${nodes} nodes\n`);
}
