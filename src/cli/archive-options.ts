/** The options of `weir import` and `weir export`. */
import { Argument, Option, type Command } from 'commander';
import type { CliContext } from './context.ts';
import { DEFAULT_MIRROR } from './runtimes/target.ts';
import { adminOption, configOption } from './settings-options.ts';

export function addImportCommand(program: Command, context: CliContext): void {
  program
    .command('import')
    .summary('Bring images of an archive to the node, for clusters without a registry')
    .description(
      'Brings the images of an archive to the node of this machine: what docker save, podman save or skopeo wrote, or ' +
        'the folder of an OCI layout. The node keeps them, and every member with access.trust-imported "yes" answers ' +
        'for them and their tags without asking a registry. Takes the token in the data folder of the node, so run it ' +
        "as root or as the node's user.",
    )
    .addArgument(
      new Argument(
        '[FILE]',
        'archive (tar, perhaps compressed with gzip), folder of an OCI layout, or - for stdin',
      ),
    )
    .addOption(
      new Option(
        '--name <REF>',
        'name of the image, such as registry.example/app:v1 (default: as in the archive)',
      ),
    )
    .addOption(
      new Option('--remove <REF>', 'remove an import: its blobs are evicted some time').conflicts([
        'name',
        'list',
      ]),
    )
    .addOption(new Option('--list', 'list what was imported at this node').conflicts('name'))
    .addOption(new Option('--json', 'print JSON'))
    .addOption(
      new Option(
        '--token-file <FILE>',
        "the node's import token (default: import.token in data.dir of the configuration)",
      ),
    )
    .addOption(adminOption())
    .addOption(configOption())
    .action(async (file: string | undefined, options: Record<string, unknown>) => {
      const { runImportCommand } = await import('./commands/import-command.ts');
      await runImportCommand(file, options, context);
    });
}

export function addExportCommand(program: Command, context: CliContext): void {
  program
    .command('export')
    .summary('Write an image that the node has, or can pull, into an OCI archive')
    .description(
      'Pulls an image through the node as a runtime does, checks every digest, and writes it into an OCI archive. ' +
        '"weir import", skopeo and podman read it, and so do docker load (since 25) and ctr images import.',
    )
    .addArgument(new Argument('<IMAGE>', 'image, such as alpine, ghcr.io/org/app:v1 or app@sha256:…'))
    .addOption(new Option('-o, --output <FILE>', 'file to write (default: stdout, if that is no terminal)'))
    .addOption(
      new Option('--mirror <URL>', 'URL of the mirror to pull through').default(
        DEFAULT_MIRROR,
        DEFAULT_MIRROR,
      ),
    )
    .addOption(
      new Option(
        '--platform <OS/ARCH>',
        'platform to take from an index, such as linux/arm64/v8 (default: that of this machine)',
      ),
    )
    .addOption(
      new Option('--all-platforms', 'take the index and all its images, so that the digest stays').conflicts(
        'platform',
      ),
    )
    .addOption(configOption())
    .action(async (image: string, options: Record<string, unknown>) => {
      const { runExportCommand } = await import('./commands/export-command.ts');
      await runExportCommand(image, options, context);
    });
}
