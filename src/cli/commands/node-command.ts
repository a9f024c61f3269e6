/** `weir node` */
import { flushCompileCache } from 'node:module';
import type { Command } from 'commander';
import { SECOND } from '../../util/clock.ts';
import { createLogger } from '../../daemon/logger.ts';
import { runNode } from '../../daemon/node.ts';
import { EXIT } from '../exit-codes.ts';
import { wantsColor, withSignals, type CliContext } from '../context.ts';
import { loadCommandConfig } from './config-command.ts';

/** Milliseconds after which all modules of a node are loaded. The cache is written then, as a killed node never would. */
const FLUSH_AFTER = 5 * SECOND;

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
    await withSignals((signal) =>
      runNode({ config, version: context.version, logger, signal, crash: () => process.exit(EXIT.crashed) }),
    );
  } finally {
    clearTimeout(flush);
  }
}
