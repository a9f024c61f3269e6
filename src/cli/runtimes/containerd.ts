/**
 * containerd: a `hosts.toml` for each registry below `config_path`, which it reads at every pull. Its own configuration is
 * read, never changed: containerd would need a restart to read it again.
 */
import { posix } from 'node:path';
import { editing } from './edit.ts';
import type { HostFiles } from './host-files.ts';
import { directTomlEdit, hostsTomlEdit } from './hosts-toml.ts';
import { ALL_REGISTRIES, existsAny, programPaths, type Detect, type Target, type Wish } from './target.ts';
import { parseToml, type TomlTable } from './toml-block.ts';

const CONFIG = '/etc/containerd/config.toml';
/** The usual `config_path`; no version of containerd has it set by itself. */
const DEFAULT_HOSTS = '/etc/containerd/certs.d';
/** The table of registries in versions 1, 2 and 3 of the file; version 3 is containerd 2's. */
const REGISTRY_TABLES = [
  ['plugins', 'cri', 'registry'],
  ['plugins', 'io.containerd.grpc.v1.cri', 'registry'],
  ['plugins', 'io.containerd.cri.v1.images', 'registry'],
];
const DISCARD_KEYS = [
  ['plugins', 'io.containerd.grpc.v1.cri', 'containerd', 'discard_unpacked_layers'],
  ['plugins', 'io.containerd.cri.v1.images', 'discard_unpacked_layers'],
];

/** With this setting, or with discarded layers, containerd 2 pulls as containerd 1 does. */
const LOCAL_PULL_KEYS = [['plugins', 'io.containerd.cri.v1.images', 'use_local_image_pull']];

export const detectContainerd: Detect = async (files, wish, isNamed) => {
  if (
    !isNamed &&
    !(await existsAny(files, [CONFIG, '/run/containerd/containerd.sock', ...programPaths('containerd')]))
  ) {
    return undefined;
  }
  const configs = await readConfigs(files);
  const paths = valuesAt(
    configs,
    REGISTRY_TABLES.map((table) => table.concat('config_path')),
  );
  const configured = paths.find((path): path is string => typeof path === 'string' && path !== '');
  const [folder = DEFAULT_HOSTS, ...others] = configured?.split(':') ?? [];
  const discards = valuesAt(configs, DISCARD_KEYS).includes(true);
  const pullsLocally = discards || valuesAt(configs, LOCAL_PULL_KEYS).includes(true);
  const notes = [
    ...(configured === undefined ? [configPathNote(files.root, configs)] : []),
    ...(others.length > 0 && !pullsLocally ? [listNote(folder)] : []),
    ...(discards ? [DISCARD_NOTE] : []),
    ...legacyNotes(configs),
    ...(await othersNotes(files, folder, wish)),
  ];
  return { runtime: 'containerd', targets: hostsTargets(folder, wish), notes };
};

/** The files below a hosts folder, for containerd itself and for k3s and RKE2. */
export function hostsTargets(folder: string, wish: Wish): readonly Target[] {
  const at = (name: string, edit: Target['edit']): Target => ({
    path: posix.join(folder, name, 'hosts.toml'),
    edit,
    takesEffect: 'at the next pull',
  });
  const direct = wish.direct.filter((name) => !name.includes('/'));
  return [
    ...wish.registries.map((name) => at(name, hostsTomlEdit(wish))),
    ...direct.map((name) => at(name, directTomlEdit())),
  ];
}

function configPathNote(root: string, configs: readonly TomlTable[]): string {
  const file = posix.join(root, CONFIG);
  const isVersion3 = configs.some((config) => Number(config['version']) >= 3);
  const table = isVersion3 ? 'io.containerd.cri.v1.images' : 'io.containerd.grpc.v1.cri';
  const lines = [
    ...(configs.length === 0 ? ['version = 2'] : []),
    `[plugins."${table}".registry]`,
    `  config_path = "${DEFAULT_HOSTS}"`,
  ];
  return (
    `config_path is not set in ${file}: containerd reads no hosts.toml without it, so its pulls bypass the mirror. ` +
    `Add to that file, then restart containerd once (containers keep running):\n` +
    lines.map((line) => `  ${line}`).join('\n')
  );
}

/** Seen with 2.1.9; https://github.com/containerd/containerd/issues/12415 */
function listNote(folder: string): string {
  return (
    `config_path names several folders: containerd 2.1 and later read none of them unless use_local_image_pull or ` +
    `discard_unpacked_layers is true. Let it name ${folder} alone, then restart containerd once`
  );
}

const DISCARD_NOTE =
  'discard_unpacked_layers is true: containerd deletes layers once they are unpacked, so Weir cannot serve them from ' +
  'there. It keeps its own copy of shared layers, within store.quota. Set it to false to have one copy on the disk.';

/** If its file has the old `mirrors`, containerd refuses `config_path`: its CRI plugin does not start. */
function legacyNotes(configs: readonly TomlTable[]): readonly string[] {
  const legacy = valuesAt(
    configs,
    REGISTRY_TABLES.map((table) => table.concat('mirrors')),
  );
  return legacy.some((value) => value !== undefined)
    ? [
        `registry.mirrors in ${CONFIG} must not stand beside config_path, as containerd's CRI plugin does not start then: ` +
          'move those mirrors into hosts.toml files before you set config_path',
      ]
    : [];
}

/** A registry's own folder wins over `_default`. An administrator decided that, so it is reported, not changed. */
async function othersNotes(files: HostFiles, folder: string, wish: Wish): Promise<readonly string[]> {
  if (!wish.registries.includes(ALL_REGISTRIES)) return [];
  const asked = new Set([...wish.registries, ...wish.direct]);
  const own: string[] = [];
  for (const name of await files.list(folder)) {
    if (!asked.has(name) && (await files.exists(posix.join(folder, name, 'hosts.toml')))) own.push(name);
  }
  if (own.length === 0) return [];
  return [
    `${own.join(', ')}: has its own hosts.toml below ${folder}, so its pulls bypass the mirror; ` +
      `name it with --registries to put the mirror in front of its own ones`,
  ];
}

/** The main file and its imports, the last first, as the last one wins. */
async function readConfigs(files: HostFiles): Promise<readonly TomlTable[]> {
  const main = await readConfig(files, CONFIG);
  if (main === undefined) return [];
  const patterns = Array.isArray(main['imports'])
    ? main['imports'].filter((each) => typeof each === 'string')
    : [];
  const imported: TomlTable[] = [];
  for (const pattern of patterns) {
    for (const path of await matches(files, posix.resolve(posix.dirname(CONFIG), pattern))) {
      const config = await readConfig(files, path);
      if (config !== undefined) imported.unshift(config);
    }
  }
  return [...imported, main];
}

async function readConfig(files: HostFiles, path: string): Promise<TomlTable | undefined> {
  const text = await files.read(path);
  return text === undefined ? undefined : editing(path, () => parseToml(text));
}

/** The files that match a pattern of containerd's imports, with `*` in its last part. */
async function matches(files: HostFiles, pattern: string): Promise<readonly string[]> {
  const folder = posix.dirname(pattern);
  if (!pattern.includes('*')) return [pattern];
  const names = await files.list(folder);
  return names
    .filter((name) => posix.matchesGlob(name, posix.basename(pattern)))
    .map((name) => posix.join(folder, name));
}

function valuesAt(configs: readonly TomlTable[], paths: readonly (readonly string[])[]): readonly unknown[] {
  return configs.flatMap((config) => paths.map((path) => valueAt(config, path)));
}

function valueAt(config: TomlTable, path: readonly string[]): unknown {
  let value: unknown = config;
  for (const part of path) {
    if (typeof value !== 'object' || value === null) return undefined;
    value = (value as Readonly<Record<string, unknown>>)[part];
  }
  return value;
}
