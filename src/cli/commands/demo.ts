/** `weir demo` */
import { runDemo } from '../../demo/demo.ts';
import { wantsColor, withSignals, type CliContext } from '../context.ts';
import { EXIT } from '../exit-codes.ts';
import { userDockerConfig } from './pull.ts';

/** Resolves with the exit code. */
export async function runDemoCommand(
  options: Readonly<Record<string, unknown>>,
  context: CliContext,
): Promise<number> {
  const wanted = options['image'] ?? context.env['IMAGE'];
  const succeeded = await withSignals((signal) =>
    runDemo({
      image: typeof wanted === 'string' && wanted !== '' ? wanted : undefined,
      dockerConfig: userDockerConfig(context.env),
      output: context.stdout,
      color: context.stdout.isTTY === true && wantsColor(context),
      env: context.env,
      signal,
    }),
  );
  return succeeded ? EXIT.ok : EXIT.failed;
}
