/** `weir doctor` and `weir bugreport`: their options. */
import { Option, type Command } from 'commander';
import type { CliContext } from './context.ts';
import { hostRootOption, stateDirOption } from './host-options.ts';
import { addSettingOptions, adminOption } from './settings-options.ts';

export function addDoctorCommand(
  program: Command,
  context: CliContext,
  setExitCode: (code: number) => void,
): void {
  const command = program
    .command('doctor')
    .summary('Look for what is wrong on this machine, and say how to mend it')
    .description(
      'Looks at the configuration, the node, the cluster key, the members and their ports, the registries, the files of the ' +
        'container runtimes, the disk, the clock and the limits of the kernel. For each thing that is wrong it says what to do. ' +
        'It changes nothing. Takes every option of "weir node", as the node does. Run it as root, as some files are ' +
        "root's alone. Exit code 6: something is wrong; warnings leave it at 0.",
    )
    .addOption(new Option('--json', 'print the report as JSON'));
  addExaminationOptions(command).action(async () => {
    const { runDoctorCommand } = await import('./commands/doctor-command.ts');
    setExitCode(await runDoctorCommand(command, context));
  });
}

export function addBugreportCommand(program: Command, context: CliContext): void {
  const command = program
    .command('bugreport')
    .summary('Pack what is of use to somebody who looks for a fault')
    .description(
      'Writes a gzipped tar with the reports of the admin address (status, members, metrics), the configuration, the report of ' +
        '"weir doctor", and the last lines of the log. Credentials are taken out of all of it: the cluster key, passwords and ' +
        "tokens of registries, those of Docker's config.json, Authorization headers, and whatever looks like one. Names of " +
        'registries, repositories and machines stay. Nothing is sent anywhere. Takes every option of "weir node", as the node does.',
    )
    .addOption(
      new Option(
        '--out <FILE>',
        'file to write, which must not exist; "-" for standard output (default: weir-bugreport-HOST-TIME.tar.gz in this folder)',
      ),
    )
    .addOption(
      new Option(
        '--log <FILE>',
        "file with the node's log (default: the journal of the unit weir, 2000 lines)",
      ),
    );
  addExaminationOptions(command).action(async () => {
    const { runBugreportCommand } = await import('./commands/bugreport-command.ts');
    await runBugreportCommand(command, context);
  });
}

/** The options that say what to examine. */
function addExaminationOptions(command: Command): Command {
  command
    .addOption(
      new Option('--registry <HOST,…>', 'registries to try besides the configured ones, such as docker.io'),
    )
    .addOption(adminOption())
    .addOption(hostRootOption())
    .addOption(stateDirOption());
  return addSettingOptions(command, { hidden: true });
}
