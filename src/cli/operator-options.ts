/** The commands with which an operator looks into a node afterwards: `weir pulls`, `weir log-level`. */
import { Argument, Option, type Command } from 'commander';
import type { CliContext } from './context.ts';
import { adminOption, configOption } from './settings-options.ts';

export function addPullsCommand(program: Command, context: CliContext): void {
  program
    .command('pulls')
    .summary('List the last pulls through a node: times, sources, and what they waited for')
    .description(
      'Lists the images that runtimes pulled through a node, the latest first: outcome, time, bytes and the shares of the ' +
        "node's store, of peers and of the registry; what the time went to; and below each image the three blobs that " +
        'took the longest. A node remembers the last 1,000 pulls since it started. ' +
        'docs/admin-api.md lists the fields of --json, and explains the causes.',
    )
    .addOption(new Option('--slow [DURATION]', 'pulls that took so long at least (10s if it is not said)'))
    .addOption(
      new Option('--image <PATTERN>', 'images whose name contains this; * stands for any characters'),
    )
    .addOption(new Option('--limit <N>', 'number of pulls, 1 to 1000 (default 50)'))
    .addOption(new Option('--json', 'print the report as JSON, with all blobs'))
    .addOption(adminOption())
    .addOption(configOption())
    .action(async (options: Record<string, unknown>) => {
      const { runPullsCommand } = await import('./commands/pulls-command.ts');
      await runPullsCommand(options, context);
    });
}

export function addLogLevelCommand(program: Command, context: CliContext): void {
  program
    .command('log-level')
    .summary("Show or change the level of a node's log while it runs")
    .description(
      "Shows the level of a node's log, or changes it until the node ends. SIGUSR2 turns debug on and off. To change it, the " +
        'token in the data folder must be readable: run it as root, or as the user of the node.',
    )
    .addArgument(
      new Argument('[LEVEL]', 'the new level').choices(['trace', 'debug', 'info', 'warn', 'error', 'silent']),
    )
    .addOption(
      new Option(
        '--token-file <FILE>',
        'file with the token of the node (default: admin-token in data.dir of the configuration)',
      ),
    )
    .addOption(new Option('--json', 'print the report as JSON'))
    .addOption(adminOption())
    .addOption(configOption())
    .action(async (level: string | undefined, options: Record<string, unknown>) => {
      const { runLogLevelCommand } = await import('./commands/log-level-command.ts');
      await runLogLevelCommand(level, options, context);
    });
}
