/** `weir preheat`: its options. */
import { Argument, Option, type Command } from 'commander';
import type { CliContext } from './context.ts';
import { adminOption, configOption } from './settings-options.ts';

export function addPreheatCommand(
  program: Command,
  context: CliContext,
  setExitCode: (code: number) => void,
): void {
  program
    .command('preheat')
    .summary('Have nodes of the cluster pull images beforehand')
    .description(
      'Gives a node an order: it and the other chosen members pull the images into their stores, together, so that each ' +
        'image leaves the registry about once. Runtimes then pull them from the store. What was pulled is kept until a ' +
        'runtime reads it, or for --keep. Each node uses the credentials that are configured there. Needs ' +
        'preheat.token-file on all nodes.',
    )
    .addArgument(new Argument('<IMAGE...>', 'images, such as alpine, ghcr.io/org/app:v1 or app@sha256:…'))
    .addOption(new Option('--zone <ZONE>', 'only nodes of this zone'))
    .addOption(
      new Option('--nodes <N|P%|all>', 'so many nodes, the same each time for the same images').default(
        'all',
        'all',
      ),
    )
    .addOption(
      new Option(
        '--platform <OS/ARCH>',
        "platform to pull from an index, such as linux/arm64/v8 (default: each node's own)",
      ),
    )
    .addOption(
      new Option('--at <TIME>', 'when to start: RFC 3339, or a duration such as 2h (default: at once)'),
    )
    .addOption(
      new Option('--keep <DURATION>', 'time for which the images are kept unless they are used').default(
        '24h',
        '24h',
      ),
    )
    .addOption(new Option('--wait', 'show the progress, and end when all chosen nodes are over'))
    .addOption(new Option('--json', 'print the order as JSON; with --wait its last state'))
    .addOption(
      new Option(
        '--token-file <FILE>',
        'file with the token (default: preheat.token-file of the configuration)',
      ),
    )
    .addOption(adminOption())
    .addOption(configOption())
    .action(async (images: readonly string[], options: Record<string, unknown>) => {
      const { runPreheatCommand } = await import('./commands/preheat-command.ts');
      setExitCode(await runPreheatCommand(images, options, context));
    });
}
