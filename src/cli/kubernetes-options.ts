/** `weir kubernetes`: its commands and options. */
import { Option, type Command } from 'commander';
import type { CliContext } from './context.ts';

export function addKubernetesCommand(program: Command, context: CliContext): void {
  const group = program
    .command('kubernetes')
    .summary('What the Helm chart runs in its pods: zone, wait')
    .description(
      'What the Helm chart runs in its pods; of no use elsewhere.\n\n' +
        '  weir kubernetes zone   writes the zone of the node to a file, for node.zone-file\n' +
        '  weir kubernetes wait   waits until a DaemonSet has a ready pod on each node',
    );
  group
    .command('zone')
    .summary('Write the zone of a node to a file')
    .description(
      'Writes the label topology.kubernetes.io/zone of a node to a file. Where it cannot be had, the file becomes ' +
        'empty and a warning is printed: a node without a zone works, it only does not prefer its neighbours.',
    )
    .requiredOption('--node <NAME>', 'name of the node')
    .requiredOption('--out <FILE>', 'file to write')
    .action(async (options: { readonly node: string; readonly out: string }) => {
      const { runZoneCommand } = await import('./commands/kubernetes-command.ts');
      await runZoneCommand(options, context);
    });
  group
    .command('wait')
    .summary('Wait until a DaemonSet has a ready pod on each node')
    .description('Waits until a DaemonSet has a ready pod on each node, or fails after the time-out.')
    .requiredOption('--namespace <NAME>', 'its namespace')
    .requiredOption('--name <NAME>', 'its name')
    .addOption(
      new Option('--timeout <SECONDS>', 'longest wait')
        .default(300)
        .argParser((text) => Number.parseInt(text, 10)),
    )
    .action(
      async (options: { readonly namespace: string; readonly name: string; readonly timeout: number }) => {
        const { runWaitCommand } = await import('./commands/kubernetes-command.ts');
        await runWaitCommand(options, context);
      },
    );
}
