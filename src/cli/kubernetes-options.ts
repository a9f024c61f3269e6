/** `weir kubernetes`: its commands and options. */
import { Option, type Command } from 'commander';
import type { CliContext } from './context.ts';

export function addKubernetesCommand(program: Command, context: CliContext): void {
  const group = program
    .command('kubernetes')
    .summary('Run the steps of the Helm chart in its pods: zone, wait')
    .description(
      'Runs the steps of the Helm chart in its pods. It is of no use elsewhere.\n\n' +
        '  weir kubernetes zone   writes the zone of the node to a file, for node.zone-file\n' +
        '  weir kubernetes wait   waits until a DaemonSet has a ready pod on each node',
    );
  group
    .command('zone')
    .summary('Write the zone of a node to a file')
    .description(
      'Writes the label topology.kubernetes.io/zone of a node to a file. If the label cannot be read, the file becomes ' +
        'empty and a warning is printed. A node without a zone works, but does not prefer near peers.',
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
    .requiredOption('--namespace <NAME>', 'namespace of the DaemonSet')
    .requiredOption('--name <NAME>', 'name of the DaemonSet')
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
