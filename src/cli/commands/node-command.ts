/** `weir node` */
import { stat } from 'node:fs/promises';
import { flushCompileCache } from 'node:module';
import type { Command } from 'commander';
import { SECOND } from '../../util/clock.ts';
import { WeirError } from '../../util/errors.ts';
import { createLogger } from '../../daemon/logger.ts';
import { runNode, type Crash } from '../../daemon/node.ts';
import { EXIT, STUCK_SIGNAL } from '../exit-codes.ts';
import { wantsColor, withSignals, type CliContext } from '../context.ts';
import { changedSettings, needsRestart } from '../../config/reloadable.ts';
import type { LoadedConfig } from '../../config/load.ts';
import { loadCommandConfig } from './config-command.ts';

/** Milliseconds after which all modules of a node are loaded. The cache is written then, as a killed node never would. */
const FLUSH_AFTER = 5 * SECOND;

/** Ends the process at once. */
const crash: Crash = (cause) => {
  // A thread that hangs in a system call would make an orderly exit wait for it. This signal ends the process by default.
  if (cause === 'stuck-worker') process.kill(process.pid, STUCK_SIGNAL);
  else process.exit(cause === 'workers' ? EXIT.workers : EXIT.crashed);
};

export async function runNodeCommand(command: Command, context: CliContext): Promise<void> {
  const loaded = await loadCommandConfig(command, context);
  const { config, file } = loaded;
  const logger = await createLogger({
    level: config['log.level'],
    format: config['log.format'],
    isTerminal: context.stderr.isTTY === true,
    color: wantsColor(context),
  });
  if (file !== undefined) logger.info({ file }, 'configuration read');
  for (const warning of loaded.warnings) logger.warn(warning);
  const flush = setTimeout(flushCompileCache, FLUSH_AFTER).unref();
  try {
    const configured = {
      loaded,
      load: () => loadAgain(command, context, file),
      needsRestart,
      changed: changedSettings,
      onHangup: (listener: () => void) => context.hangups?.listen(listener),
    };
    await withSignals((signal) => runNode({ configured, version: context.version, logger, signal, crash }));
  } finally {
    clearTimeout(flush);
  }
}

/** @throws WeirError `config_invalid`; also if `file` was read before and cannot be read a second time: nothing is no configuration */
async function loadAgain(
  command: Command,
  context: CliContext,
  file: string | undefined,
): Promise<LoadedConfig> {
  if (file !== undefined) {
    const stats = await stat(file).catch(() => undefined);
    const problem = stats === undefined ? 'is gone' : stats.isFile() ? undefined : 'cannot be read again';
    if (problem !== undefined) throw new WeirError('config_invalid', `${file}: the configuration ${problem}`);
  }
  return loadCommandConfig(command, context);
}
