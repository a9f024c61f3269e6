/** `weir host`: its commands and their options. */
import { Option, type Command } from 'commander';
import type { CliContext } from './context.ts';
import { DEFAULT_MIRROR } from './runtimes/target.ts';

export function addHostCommand(program: Command, context: CliContext): void {
  const host = program
    .command('host')
    .summary('Point the container runtimes of this machine at the mirror, or undo it')
    .description(
      'Points the container runtimes of this machine at the mirror (configure), and gives them back their own files ' +
        '(restore). Nothing is restarted.',
    )
    .helpCommand(false);
  addConfigure(host, context);
  addRestore(host, context);
}

function addConfigure(host: Command, context: CliContext): void {
  const command = host
    .command('configure')
    .summary('Write the mirror into the configuration files of the runtimes')
    .description(
      'Writes the mirror into the configuration of each runtime that is found, so that what is pulled from where stays: ' +
        'containerd (hosts.toml), Docker (daemon.json), podman and CRI-O (registries.conf.d), k3s and RKE2 ' +
        '(registries.yaml). The old text is kept for "weir host restore". Running it again changes nothing. If a file ' +
        'cannot be understood, it ends before anything is written.',
    )
    .addOption(new Option('--mirror-url <URL>', 'URL of the mirror').default(DEFAULT_MIRROR, DEFAULT_MIRROR))
    .addOption(
      new Option(
        '--registries <NAMES>',
        'registries to pull through the mirror, such as docker.io,ghcr.io; _default: all registries without a ' +
          'file of their own (default: _default)',
      ),
    )
    .addOption(
      new Option(
        '--direct <NAMES>',
        'registries to pull without the mirror, such as ghcr.io:443; for podman and CRI-O also repositories, ' +
          'such as ghcr.io/org/weir',
      ),
    )
    .addOption(
      new Option(
        '--resolve <WHERE>',
        'resolver of tags. mirror: one node asks for all, and while the registry is down the last known digest holds. ' +
          'registry: runtimes ask the mirror for digests only, so a program that takes its port while no node listens ' +
          'cannot fake a tag; Docker is left out, podman and CRI-O share only images that are named by digest',
      ).default('mirror', 'mirror'),
    );
  addCommonOptions(command).action(async (options: Record<string, unknown>) => {
    const { runHostConfigure } = await import('./commands/host-command.ts');
    await runHostConfigure(options, context);
  });
}

function addRestore(host: Command, context: CliContext): void {
  const command = host
    .command('restore')
    .summary('Give the runtimes their own files back')
    .description(
      'Restores every file that "weir host configure" wrote, byte for byte. If a file was edited by hand since, only ' +
        "Weir's part is taken out. Running it again changes nothing.",
    );
  addCommonOptions(command).action(async (options: Record<string, unknown>) => {
    const { runHostRestore } = await import('./commands/host-command.ts');
    await runHostRestore(options, context);
  });
}

function addCommonOptions(command: Command): Command {
  return command
    .addOption(
      new Option(
        '--runtime <NAMES>',
        'runtimes to edit, even if they are not found: containerd, docker, podman, cri-o, k3s, rke2 (default: all found ones)',
      ),
    )
    .addOption(hostRootOption())
    .addOption(stateDirOption())
    .addOption(new Option('--dry-run', 'write nothing; show the changes as a unified diff'));
}

export function hostRootOption(): Option {
  return new Option(
    '--host-root <FOLDER>',
    'root folder of the machine, such as /host if it is mounted in a container',
  ).default('/', '/');
}

export function stateDirOption(): Option {
  return new Option(
    '--state-dir <FOLDER>',
    'folder for the old texts of the files, below --host-root; only root may enter it',
  ).default('/var/lib/weir-host', '/var/lib/weir-host');
}
