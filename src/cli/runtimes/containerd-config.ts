/** What containerd's own configuration says of registries. It is read, never changed: containerd would need a restart. */
import { posix } from 'node:path';
import { editing } from './edit.ts';
import type { HostFiles } from './host-files.ts';
import { parseToml, type TomlTable } from './toml-block.ts';
import { valuesOf } from './values.ts';

export const DEFAULT_CONFIG = '/etc/containerd/config.toml';
/** The usual `config_path`; no version of containerd before 2.2 has it set by itself. */
export const DEFAULT_HOSTS = '/etc/containerd/certs.d';
/** The table of the CRI plugin's registries in versions 1, 2 and 3 of the file; version 3 is containerd 2's. */
const PLUGINS = [
  ['plugins', 'cri'],
  ['plugins', 'io.containerd.grpc.v1.cri'],
  ['plugins', 'io.containerd.cri.v1.images'],
];
const OLD_PLUGINS = PLUGINS.slice(0, 2);
const DISCARD_KEYS = [
  ['plugins', 'io.containerd.grpc.v1.cri', 'containerd', 'discard_unpacked_layers'],
  ['plugins', 'io.containerd.cri.v1.images', 'discard_unpacked_layers'],
];
/** With this setting, or with discarded layers, containerd 2 pulls as containerd 1 does. */
const LOCAL_PULL_KEYS = [['plugins', 'io.containerd.cri.v1.images', 'use_local_image_pull']];
/** Files that import one another. */
const MAX_FILES = 100;

export interface ContainerdConfig {
  /** Of the main file. */
  readonly file: string;
  readonly isThere: boolean;
  readonly isVersion3: boolean;
  /** Folders of registries; undefined: not set. */
  readonly configPath: readonly string[] | undefined;
  /** The file that hides `config_path` of another one from containerd before 2. */
  readonly hiding: string | undefined;
  readonly discards: boolean;
  readonly pullsLocally: boolean;
  /** Settings that containerd refuses beside `config_path`, or that say where registries are and who may ask them. */
  readonly hasInlineMirrors: boolean;
  readonly hasInlineSecrets: boolean;
}

interface File {
  readonly path: string;
  readonly config: TomlTable;
}

/** @throws WeirError `runtime_config` */
export async function readContainerdConfig(files: HostFiles, path: string): Promise<ContainerdConfig> {
  const found = await readFiles(files, path);
  const configs = found.map(({ config }) => config);
  const registry = (...key: readonly string[]): readonly unknown[] =>
    valuesAt(
      configs,
      PLUGINS.map((plugin) => plugin.concat('registry', key)),
    );
  const configured = registry('config_path').find(isSet);
  const discards = valuesAt(configs, DISCARD_KEYS).includes(true);
  const secrets = registry('configs').flatMap((value) => Object.values(valuesOf(value)));
  return {
    file: path,
    isThere: configs.length > 0,
    isVersion3: configs.some((config) => Number(config['version']) >= 3),
    configPath: configured?.split(':'),
    hiding: hidingFile(found),
    discards,
    pullsLocally: discards || valuesAt(configs, LOCAL_PULL_KEYS).includes(true),
    hasInlineMirrors: registry('mirrors').some((value) => value !== undefined),
    hasInlineSecrets: secrets.some((value) => {
      const { auth, tls } = valuesOf(value);
      return (auth ?? tls) !== undefined;
    }),
  };
}

/** The folders of registries in what `containerd config dump` prints; undefined: not set. @throws WeirError `runtime_config` */
export function dumpedConfigPath(text: string): readonly string[] | undefined {
  const config = editing('containerd config dump', () => parseToml(text));
  const paths = PLUGINS.map((plugin) => plugin.concat('registry', 'config_path'));
  return valuesAt([config], paths).find(isSet)?.split(':');
}

function isSet(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}

/** containerd before 2 takes the table of a plugin as a whole from the last file that has one. */
function hidingFile(found: readonly File[]): string | undefined {
  const withPlugin = found.filter(({ config }) =>
    valuesAt([config], OLD_PLUGINS).some((value) => value !== undefined),
  );
  const [last, ...others] = withPlugin;
  const hasPath = ({ config }: File): boolean => {
    const keys = OLD_PLUGINS.map((plugin) => plugin.concat('registry', 'config_path'));
    return valuesAt([config], keys).some(isSet);
  };
  return last !== undefined && !hasPath(last) && others.some(hasPath) ? last.path : undefined;
}

/** The main file and its imports, the last first, as the last one wins. */
async function readFiles(files: HostFiles, main: string): Promise<readonly File[]> {
  const found: File[] = [];
  // Those that are found on the way are read, too.
  const paths = new Set([main]);
  let left = MAX_FILES;
  for (const path of paths) {
    if (left-- === 0) break;
    const text = await files.read(path);
    if (text === undefined) continue;
    const config = editing(path, () => parseToml(text));
    found.unshift({ path, config });
    const imports = Array.isArray(config['imports']) ? config['imports'] : [];
    for (const pattern of imports.filter((each) => typeof each === 'string')) {
      const resolved = posix.resolve(posix.dirname(path), pattern);
      for (const each of await matches(files, resolved)) paths.add(each);
    }
  }
  const own = found.find(({ path }) => path === main);
  return own === undefined ? found : [...found.filter((each) => each !== own), own];
}

/** The paths that match a pattern of containerd's imports (Go's `filepath.Glob`). */
async function matches(files: HostFiles, pattern: string): Promise<readonly string[]> {
  let found = ['/'];
  for (const part of pattern.split('/').filter((each) => each !== '')) {
    const next: string[] = [];
    for (const folder of found) {
      if (!/[*?[]/.test(part)) next.push(posix.join(folder, part));
      else {
        const names = (await files.list(folder)).filter((name) => posix.matchesGlob(name, part));
        next.push(...names.map((name) => posix.join(folder, name)));
      }
    }
    found = next;
  }
  return found;
}

function valuesAt(configs: readonly TomlTable[], paths: readonly (readonly string[])[]): readonly unknown[] {
  return configs.flatMap((config) => paths.map((path) => valueAt(config, path)));
}

function valueAt(config: TomlTable, path: readonly string[]): unknown {
  let value: unknown = config;
  for (const part of path) value = valuesOf(value)[part];
  return value;
}
