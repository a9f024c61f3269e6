/** Command-line options made from the settings. */
import { Option, type Command } from 'commander';
import { SECTIONS, flagName, sectionOf } from '../config/setting-names.ts';
import { SETTING_KEYS, settingOf, type SettingKey } from '../config/settings.ts';

/** Adds all settings as options of `command`. */
export function addSettingOptions(command: Command, options: { readonly hidden?: boolean } = {}): Command {
  command.addOption(configOption());
  for (const key of SETTING_KEYS) command.addOption(settingOption(key).hideHelp(options.hidden === true));
  return command;
}

export function configOption(): Option {
  return new Option(
    '--config <FILE>',
    'YAML file of settings (default /etc/weir/config.yaml, if it exists)',
  ).helpGroup('General:');
}

export function adminOption(): Option {
  return new Option(
    '--admin <ADDRESS>',
    'admin address of the node: HOST:PORT (default: admin.listen of the configuration, 127.0.0.1:4771)',
  );
}

function settingOption(key: SettingKey): Option {
  const setting = settingOf(key);
  const value = setting.default === '' ? 'none' : setting.default.replaceAll(',', ', ');
  const option = new Option(
    `${flagName(key)} <${setting.placeholder}>`,
    `${setting.description} (default ${value})`,
  ).helpGroup(`${SECTIONS[sectionOf(key)]}:`);
  // Not `.choices()`, which refuses a value at once: all problems are reported together, each with its origin.
  if (setting.choices !== undefined) option.argChoices = [...setting.choices];
  if (setting.list === true) {
    option.argParser((text: string, before: string | undefined) =>
      before === undefined ? text : `${before},${text}`,
    );
  }
  return option;
}

/** The settings of the command line, by their keys. */
export function settingFlags(command: Command): Partial<Record<SettingKey, string>> {
  const flags: Partial<Record<SettingKey, string>> = {};
  const values: Record<string, unknown> = command.opts();
  for (const key of SETTING_KEYS) {
    const value = values[attributeOf(flagName(key))];
    if (typeof value === 'string') flags[key] = value;
  }
  return flags;
}

/** Commander's name for `--a-b-c`: `aBC`. */
function attributeOf(flag: string): string {
  return new Option(flag).attributeName();
}
