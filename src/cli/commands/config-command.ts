/** `weir config` */
import type { Command } from 'commander';
import { loadConfig, type LoadedConfig } from '../../config/load.ts';
import { configAsJson, configAsTable, configAsYaml, presentConfig } from '../../config/present.ts';
import { readFileBounded } from '../../config/read-file.ts';
import { exposedFiles } from '../../config/secret-files.ts';
import type { CliContext } from '../context.ts';
import { settingFlags } from '../settings-options.ts';

/** Loads the configuration of a command that has the options of all settings. @throws WeirError `config_invalid` */
export async function loadCommandConfig(command: Command, context: CliContext): Promise<LoadedConfig> {
  const options: Record<string, unknown> = command.opts();
  const file = options['config'];
  const loaded = await loadConfig({
    flags: settingFlags(command),
    env: context.env,
    file: typeof file === 'string' ? file : undefined,
    readFile: readFileBounded,
  });
  return { ...loaded, warnings: [...loaded.warnings, ...(await exposedFiles(loaded.secretFiles))] };
}

export async function runConfigCommand(command: Command, context: CliContext): Promise<void> {
  const options: Record<string, unknown> = command.opts();
  const loaded = await loadCommandConfig(command, context);
  for (const warning of loaded.warnings) context.stderr.write(`weir: warning: ${warning}\n`);
  if (options['check'] === true) return;
  const settings = presentConfig(loaded);
  if (options['json'] === true) context.stdout.write(`${configAsJson(settings)}\n`);
  else if (options['yaml'] === true) context.stdout.write(await configAsYaml(settings));
  else context.stdout.write(`${configAsTable(settings)}\n`);
}
