/** The commands that tell of pulls afterwards. */
import { Option, type Command } from 'commander';
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
