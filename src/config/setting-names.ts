/** What settings are called: sections, flags, variables, and the file that holds them. */
import { settingOf, type SettingKey } from './settings.ts';

/** Titles of the sections, in the order of `--help` and the docs. */
export const SECTIONS: Readonly<Record<string, string>> = {
  data: 'Data',
  mirror: 'Mirror',
  admin: 'Admin',
  node: 'Node',
  cluster: 'Cluster',
  transfer: 'Transfer',
  access: 'Access',
  tags: 'Tags',
  store: 'Store',
  pull: 'Pull',
  preheat: 'Preheat',
  upstream: 'Upstream',
  log: 'Log',
};

/** The section of `a.b-c`: `a`. */
export function sectionOf(key: SettingKey): string {
  return key.slice(0, key.indexOf('.'));
}

export const ENV_PREFIX = 'WEIR_';

/** The variable that names the YAML file, as `--config` does. */
export const CONFIG_FILE_ENV = 'WEIR_CONFIG';

/** Read if it exists and neither `--config` nor WEIR_CONFIG names a file. */
export const DEFAULT_CONFIG_FILE = '/etc/weir/config.yaml';

/** `--a-b-c` for `a.b-c`, unless the setting has a shorter flag. */
export function flagName(key: SettingKey): string {
  return settingOf(key).flag ?? `--${key.replaceAll('.', '-')}`;
}

/** `WEIR_A_B_C` for `a.b-c`. */
export function envName(key: SettingKey): string {
  return ENV_PREFIX + key.replaceAll(/[.-]/g, '_').toUpperCase();
}
