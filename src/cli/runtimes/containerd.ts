/** containerd: a `hosts.toml` for each registry below `config_path`, which it reads at every pull. */
import {
  DEFAULT_CONFIG,
  DEFAULT_HOSTS,
  readContainerdConfig,
  type ContainerdConfig,
} from './containerd-config.ts';
import { planHosts } from './hosts-folders.ts';
import { commandLineOf, optionOf, proxyNotes, type CommandLine } from './command-line.ts';
import type { HostFiles } from './host-files.ts';
import { existsAny, programPaths, type Detect } from './target.ts';
import { posix } from 'node:path';

export const detectContainerd: Detect = async (files, wish, isNamed) => {
  const command = await commandLineOf(files, 'containerd', (found) => !isOfAnother(configOf(found)));
  const path = configOf(command);
  if (
    !isNamed &&
    !(await existsAny(files, [path, '/run/containerd/containerd.sock', ...programPaths('containerd')]))
  ) {
    return undefined;
  }
  const config = await readContainerdConfig(files, path);
  const folders = config.configPath ?? [DEFAULT_HOSTS];
  if (!folders.every((folder) => folder.startsWith('/'))) {
    const note =
      `config_path in ${config.file} is no list of absolute paths (${JSON.stringify(folders.join(':'))}): nothing was ` +
      `changed. Set it to ${DEFAULT_HOSTS}, restart containerd once, and run this again`;
    return { runtime: 'containerd', targets: [], notes: [note] };
  }
  const plan = await planHosts(files, folders, wish);
  const notes = [...configNotes(posix.join(files.root, config.file), config), ...plan.notes];
  return {
    runtime: 'containerd',
    targets: plan.targets,
    others: plan.others,
    notes: [...notes, ...proxyNotes(command)],
  };
};

/** What containerd is told of registries, and what keeps it from reading its hosts files. */
export interface ContainerdState {
  /** Path of its main configuration file. */
  readonly file: string;
  /** Undefined: not set in its files. */
  readonly configPath: readonly string[] | undefined;
  readonly problems: readonly string[];
}

/** @throws WeirError `runtime_config` */
export async function containerdState(files: HostFiles): Promise<ContainerdState> {
  const command = await commandLineOf(files, 'containerd', (found) => !isOfAnother(configOf(found)));
  const config = await readContainerdConfig(files, configOf(command));
  const { file, configPath, hiding } = config;
  const isList = (configPath ?? []).length > 1 && !config.pullsLocally;
  const problems = [
    ...(hiding === undefined ? [] : [hidingNote(hiding, file)]),
    ...(isList ? [listNote(configPath?.at(-1) ?? '')] : []),
    ...(config.hasInlineMirrors ? [inlineMirrorsNote(file)] : []),
  ];
  return { file, configPath, problems };
}

function configOf(command: CommandLine): string {
  return optionOf(command, ['--config', '-c']).at(-1) ?? DEFAULT_CONFIG;
}

/** dockerd's own containerd pulls nothing; that of k3s and RKE2 has its files from them. */
function isOfAnother(config: string): boolean {
  return config.includes('/docker/containerd/') || config.includes('/agent/etc/containerd/');
}

function configNotes(file: string, config: ContainerdConfig): readonly string[] {
  const folders = config.configPath ?? [];
  return [
    ...(config.configPath === undefined ? [configPathNote(file, config)] : []),
    ...(config.hiding === undefined ? [] : [hidingNote(config.hiding, config.file)]),
    ...(folders.length > 1 && !config.pullsLocally ? [listNote(folders.at(-1) ?? '')] : []),
    ...(config.discards ? [DISCARD_NOTE] : []),
    ...(config.hasInlineMirrors ? [inlineMirrorsNote(config.file)] : []),
    ...(config.hasInlineSecrets ? [inlineSecretsNote(config.file)] : []),
  ];
}

function configPathNote(file: string, { isThere, isVersion3 }: ContainerdConfig): string {
  const table = isVersion3 ? 'io.containerd.cri.v1.images' : 'io.containerd.grpc.v1.cri';
  const lines = [
    ...(isThere ? [] : ['version = 2']),
    `[plugins."${table}".registry]`,
    `  config_path = "${DEFAULT_HOSTS}"`,
  ];
  return (
    `config_path is not set in ${file}: containerd reads no hosts.toml without it, so its pulls bypass the mirror. ` +
    `Add to that file, then restart containerd once (containers keep running):\n` +
    lines.map((line) => `  ${line}`).join('\n')
  );
}

function hidingNote(hiding: string, main: string): string {
  return (
    `${hiding} has a table of the CRI plugin without config_path: containerd before 2 takes that table instead of the one ` +
    `in ${main}, so its pulls bypass the mirror. Set config_path in ${hiding}, too, then restart containerd once`
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
function inlineMirrorsNote(file: string): string {
  return (
    `registry.mirrors in ${file} must not stand beside config_path, as containerd's CRI plugin does not start then: ` +
    'move those mirrors into hosts.toml files before you set config_path'
  );
}

function inlineSecretsNote(file: string): string {
  return (
    `registry.configs in ${file} has credentials or certificates of registries, which the mirror does not have: ` +
    `where a registry refuses the mirror, its pulls bypass it. Name them in the section registries of Weir's configuration`
  );
}
