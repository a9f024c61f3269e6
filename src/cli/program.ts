/**
 * The commands of `weir`, their options and help. The work of a command is in a module of its own, which is loaded when
 * the command runs: `weir version` must not pay for a node's modules, nor a node for the demo's.
 */
import { Argument, Command, CommanderError, Option } from 'commander';
import { EXIT, EXIT_CODES, describeError, exitCodeOf } from './exit-codes.ts';
import { SignalError, type CliContext } from './context.ts';
import { addExportCommand, addImportCommand } from './archive-options.ts';
import { addBugreportCommand, addDoctorCommand } from './doctor-options.ts';
import { addHostCommand } from './host-options.ts';
import { addKubernetesCommand } from './kubernetes-options.ts';
import { addPreheatCommand } from './preheat-options.ts';
import { addSettingOptions, adminOption, configOption } from './settings-options.ts';
import { addStoreCommand } from './store-options.ts';
import { addLogLevelCommand, addPullsCommand } from './operator-options.ts';
import { DEFAULT_MIRROR } from './runtimes/target.ts';

/** Columns beyond which a line of help is hard to read. */
const MAX_HELP_COLUMNS = 100;

export const DESCRIPTION = 'A peer-to-peer network for container images: a mirror on each node.';

/** Runs `arguments_` (without `node` and the script). Resolves with the exit code; never rejects. */
export async function runCli(arguments_: readonly string[], context: CliContext): Promise<number> {
  const outcome = { code: EXIT.ok as number };
  const program = buildProgram(context, (code) => (outcome.code = code));
  try {
    const wantsHelp = arguments_.some((argument) => argument === '-h' || argument === '--help');
    if (arguments_[0] === 'complete' && !wantsHelp) {
      const { default: tab } = await import('@bomb.sh/tab/commander');
      // Shells show a suggestion on one line: a description of several lines would add words to the list.
      for (const command of program.commands) command.description(command.summary());
      tab(program);
    } else {
      addCompletionHelp(program);
    }
    await program.parseAsync([...arguments_], { from: 'user' });
    return outcome.code;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    if (error instanceof SignalError) return error.exitCode;
    context.stderr.write(`${describeError(error)}\n`);
    return exitCodeOf(error);
  }
}

/** @param setExitCode is called by commands that fail without an error */
export function buildProgram(context: CliContext, setExitCode: (code: number) => void): Command {
  const program = new Command('weir')
    .description(DESCRIPTION)
    .exitOverride()
    .showSuggestionAfterError()
    .helpCommand('help [command]', 'Help on a command')
    .helpOption('-h, --help', 'Help on this command')
    .configureHelp({ helpWidth: helpColumns(context) })
    .configureOutput({
      writeOut: (text) => void context.stdout.write(text),
      writeErr: (text) => void context.stderr.write(text),
      outputError: (text, write) => write(`weir: ${text.replace(/^error: /, '')}`),
    });
  addNodeCommand(program, context);
  addPullCommand(program, context);
  addPreheatCommand(program, context, setExitCode);
  addImportCommand(program, context);
  addExportCommand(program, context);
  addStatusCommand(program, context);
  addPullsCommand(program, context);
  addPeersCommand(program, context);
  addDoctorCommand(program, context, setExitCode);
  addBugreportCommand(program, context);
  addStoreCommand(program, context);
  addLogLevelCommand(program, context);
  addDemoCommand(program, context, setExitCode);
  addConfigCommand(program, context);
  addHostCommand(program, context);
  addKubernetesCommand(program, context);
  addVersionCommand(program, context);
  return program.addHelpText('after', () => `\n${exitCodeHelp()}`);
}

function addNodeCommand(program: Command, context: CliContext): void {
  const command = program
    .command('node')
    .summary('Run a node: a mirror for the runtimes of this machine')
    .description(
      'Runs a node in the foreground: a mirror that containerd, Docker, podman and CRI-O on this machine pull ' +
        'through. After SIGTERM or SIGINT running requests may end (--mirror-drain-timeout); a second signal ends it at once. ' +
        'SIGHUP has it read its configuration again.\n\n' +
        'Each option is also an environment variable and a line of the YAML file: --mirror-listen is ' +
        'WEIR_MIRROR_LISTEN, and "listen:" below "mirror:". Options override variables, and variables override the file.',
    );
  addSettingOptions(command).action(async () => {
    const { runNodeCommand } = await import('./commands/node-command.ts');
    await runNodeCommand(command, context);
  });
}

function addPullCommand(program: Command, context: CliContext): void {
  program
    .command('pull')
    .summary('Pull an image through the local node, checking every digest')
    .description(
      'Pulls an image as a runtime does, checks every digest, and keeps nothing. This fills the store of the node, and ' +
        'shows how fast the node answers. At its end it shows where the bytes came from, if the node tells at its admin ' +
        'address (--admin).',
    )
    .addArgument(new Argument('<REF>', 'image, such as alpine, ghcr.io/org/app:v1 or app@sha256:…'))
    .addOption(
      new Option('--mirror <URL>', 'URL of the mirror to pull through').default(
        DEFAULT_MIRROR,
        DEFAULT_MIRROR,
      ),
    )
    .addOption(new Option('--direct', 'pull from the registry itself, without a node').conflicts('mirror'))
    .addOption(
      new Option(
        '--platform <OS/ARCH>',
        'platform to pull from an index, such as linux/arm64/v8 (default: that of this machine)',
      ),
    )
    .addOption(new Option('--all-platforms', 'pull all images of an index').conflicts('platform'))
    .addOption(
      new Option(
        '--authfile <FILE>',
        "credentials for registries, instead of those of Docker's and podman's logins",
      ),
    )
    .addOption(new Option('--json', 'print the result as JSON, without progress'))
    .addOption(adminOption())
    .addOption(configOption())
    .action(async (reference: string, options: Record<string, unknown>) => {
      const { runPullCommand } = await import('./commands/pull-command.ts');
      await runPullCommand(reference, options, context);
    });
}

function addStatusCommand(program: Command, context: CliContext): void {
  program
    .command('status')
    .summary("Show a node's cluster, transfers and saved bytes")
    .description(
      'Shows the report of the admin address: the cluster and its zones, the arriving blobs and the sources of their ' +
        'bytes, the bytes that did not have to come from a registry, and suspected members. ' +
        'docs/admin-api.md lists the fields of --json.',
    )
    .addOption(new Option('--watch', 'repeat until Ctrl-C; wait for a node that does not answer'))
    .addOption(new Option('--json', 'print the report as JSON; with --watch one line each time'))
    .addOption(adminOption())
    .addOption(configOption())
    .action(async (options: Record<string, unknown>) => {
      const { runStatusCommand } = await import('./commands/status-command.ts');
      await runStatusCommand(options, context);
    });
}

function addPeersCommand(program: Command, context: CliContext): void {
  program
    .command('peers')
    .summary('List the members that a node knows')
    .description(
      'Lists the members that a node knows, from its admin address: zone, state, connection, round trip, shared swarms, ' +
        'bytes from it and to it, and the end of its peer ID.',
    )
    .addOption(new Option('--json', 'print the report as JSON, with whole peer IDs and addresses'))
    .addOption(adminOption())
    .addOption(configOption())
    .action(async (options: Record<string, unknown>) => {
      const { runPeersCommand } = await import('./commands/peers-command.ts');
      await runPeersCommand(options, context);
    });
}

function addDemoCommand(program: Command, context: CliContext, setExitCode: (code: number) => void): void {
  program
    .command('demo')
    .summary('Compare nodes that share an image with pulls from the registry alone')
    .description(
      'Starts an embedded registry with a generated image. N clients pull it at once: first from the registry alone, ' +
        'then through N nodes that share. Then one more node pulls it late. Shows the parts that each node has and ' +
        'their sources, checks every digest, and counts the bytes that left the registry. The links of the registry ' +
        'and of each node have the same limit. It ends by itself and leaves nothing behind.',
    )
    .addOption(new Option('--nodes <N>', 'number of nodes, 1 to 64 (or the variable NODES; default 5)'))
    .addOption(
      new Option(
        '--image <REF>',
        'image to pull from its own registry instead, first N times without nodes (or the variable IMAGE)',
      ),
    )
    .action(async (options: Record<string, unknown>) => {
      const { runDemoCommand } = await import('./commands/demo-command.ts');
      setExitCode(await runDemoCommand(options, context));
    });
}

function addConfigCommand(program: Command, context: CliContext): void {
  const command = program
    .command('config')
    .summary('Print the effective configuration and the source of each value')
    .description(
      'Prints the effective configuration: each setting, its value, and the source of the value. Takes every option of ' +
        '"weir node". Passwords and tokens are printed as ***.',
    )
    .addOption(new Option('--json', 'print JSON').conflicts('yaml'))
    .addOption(new Option('--yaml', 'print a YAML file'))
    .addOption(new Option('--check', 'print problems only'));
  addSettingOptions(command, { hidden: true }).action(async () => {
    const { runConfigCommand } = await import('./commands/config-command.ts');
    await runConfigCommand(command, context);
  });
}

function addVersionCommand(program: Command, context: CliContext): void {
  program
    .command('version')
    .summary('Print the version')
    .description('Prints the version of Weir, of Node.js, and the platform.')
    .addOption(new Option('--json', 'print JSON'))
    .action((options: Record<string, unknown>) => {
      const version = {
        version: context.version,
        node: process.version,
        platform: `${process.platform}/${process.arch}`,
      };
      const text = `weir ${version.version} (Node.js ${version.node}, ${version.platform})`;
      context.stdout.write(`${options['json'] === true ? JSON.stringify(version) : text}\n`);
    });
}

/** The completion commands come from a library that is loaded only when they are called. */
function addCompletionHelp(program: Command): void {
  program
    .command('complete')
    .summary('Print a completion script for a shell')
    .description(
      'Prints a script that completes commands and options.\n\n' +
        '  bash:        source <(weir complete bash)\n' +
        '  zsh:         source <(weir complete zsh)\n' +
        '  fish:        weir complete fish | source\n' +
        '  powershell:  weir complete powershell | Out-String | Invoke-Expression',
    )
    .addArgument(new Argument('<SHELL>', 'the shell').choices(['bash', 'zsh', 'fish', 'powershell']));
}

function exitCodeHelp(): string {
  const lines = EXIT_CODES.map(({ code, meaning }) => `  ${code.padEnd(6)} ${meaning.replaceAll('`', '')}`);
  return ['Exit codes:', ...lines].join('\n');
}

function helpColumns(context: CliContext): number {
  const columns = 'columns' in context.stdout ? Number(context.stdout.columns) : Number.NaN;
  return Math.min(MAX_HELP_COLUMNS, Number.isFinite(columns) && columns > 0 ? columns : MAX_HELP_COLUMNS);
}
