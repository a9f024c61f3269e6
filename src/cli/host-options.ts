/** `weir host`: its commands and their options. */
import { Option, type Command } from 'commander';
import type { CliContext } from './context.ts';

const DEFAULT_MIRROR = 'http://127.0.0.1:4770';

export function addHostCommand(program: Command, context: CliContext): void {
  const host = program
    .command('host')
    .summary('Point the container runtimes of this machine at the mirror, and back')
    .description(
      'Points the container runtimes of this machine at the mirror (configure), and gives back what was there before ' +
        '(restore). Nothing is restarted.',
    )
    .helpCommand(false);
  addConfigure(host, context);
  addRestore(host, context);
}

function addConfigure(host: Command, context: CliContext): void {
  const command = host
    .command('configure')
    .summary('Write the mirror into the files of the runtimes')
    .description(
      'Writes the mirror into the configuration of each runtime that is found, in front of the mirrors that are there: ' +
        'containerd (hosts.toml), Docker (daemon.json), podman and CRI-O (registries.conf.d), k3s and RKE2 ' +
        '(registries.yaml). What was there is kept for "weir host restore". Running it again changes nothing; a file ' +
        'that cannot be understood stops it before anything is written.',
    )
    .addOption(
      new Option('--mirror-url <URL>', 'where the mirror listens').default(DEFAULT_MIRROR, DEFAULT_MIRROR),
    )
    .addOption(
      new Option(
        '--registries <NAMES>',
        'registries that are pulled through the mirror, such as docker.io,ghcr.io; _default: all that have no ' +
          'file of their own (default: _default)',
      ),
    )
    .addOption(
      new Option(
        '--direct <NAMES>',
        'registries that are pulled without the mirror, such as ghcr.io:443; for podman and CRI-O also repositories, ' +
          'such as ghcr.io/org/weir',
      ),
    )
    .addOption(
      new Option(
        '--resolve <WHERE>',
        'where tags are resolved: mirror (one node asks for all, and while the registry is down the last known digest ' +
          'holds) or registry (the mirror is asked for digests alone: whoever takes its port while no node listens is ' +
          'not believed on a tag; Docker is left out, podman and CRI-O share only what is named by digest)',
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
    .summary('Give the runtimes back the files that they had')
    .description(
      'Gives back every file that "weir host configure" wrote, byte for byte. Where it was edited by hand since, only ' +
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
        'only these, whether found or not: containerd, docker, podman, cri-o, k3s, rke2 (default: all that are found)',
      ),
    )
    .addOption(
      new Option(
        '--host-root <FOLDER>',
        "the machine's root folder, where that is mounted in a container: /host",
      ).default('/', '/'),
    )
    .addOption(
      new Option(
        '--state-dir <FOLDER>',
        "where the files of before are kept, below --host-root; root's alone",
      ).default('/var/lib/weir-host', '/var/lib/weir-host'),
    )
    .addOption(new Option('--dry-run', 'write nothing, and show what would be changed as a unified diff'));
}
