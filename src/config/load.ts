/**
 * The effective configuration: flags, then environment, then the YAML file, then defaults.
 *
 * Every effective value is checked. All problems are reported at once, one line each: the key, the value, the problem,
 * the allowed values, and the source of the value. An overridden value is not checked. The caller hands in `readFile`.
 */
import * as v from 'valibot';
import { MIB } from '../util/clock.ts';
import { WeirError } from '../util/errors.ts';
import { formatListenAddress } from './kinds.ts';
import { didYouMean } from './spelling.ts';
import type { ReadFile } from './read-file.ts';
import { readRegistries } from './registries.ts';
import { CONFIG_FILE_ENV, DEFAULT_CONFIG_FILE, ENV_PREFIX, envName, flagName } from './setting-names.ts';
import { SETTING_KEYS, settingOf, type Config, type ConfigKey, type SettingKey } from './settings.ts';
import { readYamlSettings, type RawValue, type YamlSettings } from './yaml-file.ts';

/** A hand-written file has some KiB. The bound keeps a wrong path (a disk image) from filling the memory. */
const MAX_CONFIG_BYTES = MIB;

/** Characters of a wrong value that an error shows. */
const MAX_SHOWN_VALUE = 80;

/**
 * Variables that Kubernetes puts into every pod for a Service named `weir` or `weir-…` ("service links"), such as
 * WEIR_SERVICE_HOST and WEIR_ADMIN_PORT_4771_TCP_ADDR. They are no settings and cause no warning.
 */
const SERVICE_LINK = new RegExp(
  `^${ENV_PREFIX}(?:[A-Z0-9_]+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT(?:_\\d+_[A-Z]+(?:_[A-Z]+)?)?)$`,
);

export interface LoadConfigOptions {
  /** Values of flags, by the key of the setting. */
  readonly flags?: Readonly<Partial<Record<SettingKey, string>>> | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The file that `--config` names. */
  readonly file?: string | undefined;
  readonly readFile: ReadFile;
}

export interface LoadedConfig {
  readonly config: Config;
  /** Per key: `flag --x`, `environment WEIR_X`, `file NAME:LINE` or `default`. */
  readonly origins: Readonly<Record<ConfigKey, string>>;
  readonly warnings: readonly string[];
  /** The YAML file that was read. */
  readonly file: string | undefined;
  /** Files that hold a credential or the cluster key. */
  readonly secretFiles: readonly string[];
  /** All files that were read or are named, which need not exist; not those that are read anew for each use. */
  readonly files: readonly string[];
}

/** @throws WeirError `config_invalid`; its message has one line per problem */
export async function loadConfig(options: LoadConfigOptions): Promise<LoadedConfig> {
  const problems: string[] = [];
  const read = new Set<string>();
  const readFile: ReadFile = (path, maxBytes) => {
    read.add(path);
    return options.readFile(path, maxBytes);
  };
  const { file, yaml } = await readConfigFile({ ...options, readFile });
  problems.push(...(yaml?.problems ?? []));
  const values: Record<string, unknown> = {};
  const origins: Record<string, string> = {};
  for (const key of SETTING_KEYS) {
    const raw = strongest(key, options, yaml);
    origins[key] = raw.origin;
    const result = checkValue(key, raw);
    if (result.problem === undefined) values[key] = result.value;
    else problems.push(result.problem);
  }
  const originOf = yaml?.originOf ?? (() => 'default');
  const registries = await readRegistries(yaml?.registries, { originOf, readFile });
  problems.push(...registries.problems);
  values['registries'] = registries.registries;
  origins['registries'] = yaml?.registries === undefined ? 'default' : originOf(['registries']);
  if (problems.length === 0) problems.push(...conflicts(values as unknown as Config, origins));
  if (problems.length > 0) throw new WeirError('config_invalid', problems.join('\n'));
  const config = values as unknown as Config;
  const named = [
    registries.hasSecrets ? (file ?? '') : '',
    config['cluster.key-file'],
    config['admin.token-file'],
    config['upstream.docker-config'],
    config['preheat.token-file'],
    ...registries.secretFiles,
  ];
  return {
    config,
    origins: origins as Record<ConfigKey, string>,
    warnings: unknownVariables(options.env),
    file,
    secretFiles: [...new Set(named.filter((path) => path !== ''))],
    files: [...read, ...namedFiles(config)],
  };
}

function namedFiles(config: Config): readonly string[] {
  const files = [config['cluster.key-file'], config['upstream.ca-file']];
  for (const { caFiles = [], clientCertificate: client } of config.registries.values()) {
    files.push(...caFiles);
    if (client !== undefined) files.push(client.certFile, client.keyFile);
  }
  return files.filter((path) => path !== '');
}

/** The defaults with `overrides`, for tests and for parts that run without a file. */
export function defaultConfig(overrides: Partial<Config> = {}): Config {
  const values: Record<string, unknown> = { registries: new Map() };
  for (const key of SETTING_KEYS) values[key] = v.parse(settingOf(key).schema, settingOf(key).default);
  return { ...(values as unknown as Config), ...overrides };
}

async function readConfigFile(
  options: LoadConfigOptions,
): Promise<{ file: string | undefined; yaml: YamlSettings | undefined }> {
  const variable = options.env[CONFIG_FILE_ENV] === '' ? undefined : options.env[CONFIG_FILE_ENV];
  const named = options.file ?? variable;
  const file = named ?? DEFAULT_CONFIG_FILE;
  const text = await options.readFile(file, MAX_CONFIG_BYTES);
  if (text !== undefined) return { file, yaml: await readYamlSettings(text, file) };
  if (named === undefined) return { file: undefined, yaml: undefined };
  const origin = options.file === undefined ? `environment ${CONFIG_FILE_ENV}` : 'flag --config';
  throw new WeirError('config_invalid', `${file}: no such configuration file (${origin})`);
}

function strongest(key: SettingKey, options: LoadConfigOptions, yaml: YamlSettings | undefined): RawValue {
  const flag = options.flags?.[key];
  if (flag !== undefined) return { value: flag, origin: `flag ${flagName(key)}` };
  // An empty variable is how Helm and compose files write "not set".
  const variable = options.env[envName(key)];
  if (variable !== undefined && variable !== '') {
    return { value: variable, origin: `environment ${envName(key)}` };
  }
  return yaml?.values.get(key) ?? { value: settingOf(key).default, origin: 'default' };
}

function checkValue(key: SettingKey, raw: RawValue): { value?: unknown; problem?: string } {
  const setting = settingOf(key);
  const result = v.safeParse(setting.schema, raw.value);
  if (result.success) return { value: result.output };
  const [issue] = result.issues;
  const where = `allowed: ${setting.allowed} (${raw.origin})`;
  if (raw.value === null) return { problem: `${key}: has no value; ${where}` };
  return { problem: `${key}: ${show(issue.input)} ${issue.message}; ${where}` };
}

/** A wrong value in quotes, on one line, cut if it is long. */
function show(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length <= MAX_SHOWN_VALUE ? text : `${text.slice(0, MAX_SHOWN_VALUE)}…`;
}

/** Problems that no single value shows. */
function conflicts(config: Config, origins: Readonly<Record<string, string>>): readonly string[] {
  const problems: string[] = [];
  const { 'store.stop-below': stop, 'store.shrink-below': shrink } = config;
  if (stop > shrink) {
    const problem = `store.stop-below: ${stop}% is more than the ${shrink}% of store.shrink-below`;
    problems.push(
      `${problem}; allowed: at most that, so that the store shrinks first (${origins['store.stop-below']})`,
    );
  }
  const seen = new Map<string, SettingKey>();
  const listeners = [
    ...config['mirror.listen'].map((address) => ['mirror.listen', address] as const),
    ...config['admin.listen'].map((address) => ['admin.listen', address] as const),
  ];
  for (const [key, address] of listeners) {
    const text = formatListenAddress(address);
    const other = seen.get(text);
    if (address.port === 0) continue;
    if (other !== undefined)
      problems.push(`${key}: ${text} is taken by ${other} already; allowed: another port`);
    seen.set(text, key);
  }
  return problems;
}

function unknownVariables(env: LoadConfigOptions['env']): readonly string[] {
  const known = new Set([...SETTING_KEYS.map(envName), CONFIG_FILE_ENV]);
  return Object.keys(env)
    .filter((name) => name.startsWith(ENV_PREFIX) && !known.has(name) && !SERVICE_LINK.test(name))
    .sort()
    .map((name) => `environment ${name}: no such setting${didYouMean(name, known)}`);
}
