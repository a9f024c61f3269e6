/**
 * containerd's folders of registries: the first folder of `config_path` that has one for the registry or `_default` holds,
 * and the other one of it and all of the later folders are hidden. `hostDirectory` and `hostPaths` of
 * https://github.com/containerd/containerd/tree/main/core/remotes/docker/config
 */
import { posix } from 'node:path';
import { editing } from './edit.ts';
import type { HostFiles } from '../../host/host-files.ts';
import { directTomlEdit, hostsTomlEdit, isBare, placesOf, serverOf, type Places } from './hosts-toml.ts';
import { ALL_REGISTRIES, type Target, type Wish } from './target.ts';
import { hasBlock, parseToml, withoutBlock } from './toml-block.ts';

const FILE = 'hosts.toml';

/** The folder that holds for a registry, as it is without Weir. */
interface Holding {
  /** `/etc/containerd/certs.d/_default` */
  readonly folder: string;
  readonly isDefault: boolean;
  /** Undefined: no such file; then certificates beside it hold. */
  readonly text: string | undefined;
  readonly certificates: readonly string[];
}

export interface HostsPlan {
  readonly targets: readonly Target[];
  /** All `hosts.toml` below the folders. */
  readonly others: readonly string[];
  readonly notes: readonly string[];
}

/**
 * The files below containerd's folders of registries: for containerd itself, k3s and RKE2.
 * @param folders of `config_path`, in its order
 */
export async function planHosts(
  files: HostFiles,
  folders: readonly string[],
  wish: Wish,
): Promise<HostsPlan> {
  const targets: Target[] = [];
  const notes: string[] = [];
  const add = (path: string, edit: Target['edit']): void => {
    targets.push({ path, edit, takesEffect: 'at the next pull' });
  };
  let isForAll = false;
  for (const name of wish.registries) {
    const holding = await holdingOf(files, folders, name);
    const path = pathFor(name, holding, folders);
    const inherited = inheritedBy(name, holding);
    const certificates = holding === undefined ? '' : certificateLines(holding);
    const places = editing(path, () => placesOf(holding?.text ?? inherited, name, wish.mirrorUrl));
    notes.push(...placesNotes(path, name, places));
    if (places.server !== undefined) continue;
    add(path, hostsTomlEdit(wish, name, inherited, certificates));
    isForAll ||= name === ALL_REGISTRIES;
  }
  for (const name of isForAll ? wish.direct.filter((each) => !each.includes('/')) : []) {
    const holding = await holdingOf(files, folders, name);
    // Its own folder holds already, without the mirror.
    if (holding !== undefined && !holding.isDefault) continue;
    add(pathFor(name, holding, folders), directTomlEdit(inheritedByDirect(name, holding)));
  }
  const found: string[] = [];
  for (const parent of folders) {
    for (const name of await files.list(parent)) found.push(posix.join(parent, name));
  }
  return {
    targets,
    others: found.map((folder) => posix.join(folder, FILE)),
    notes: [...notes, ...(await othersNotes(files, found, folders, wish))],
  };
}

function pathFor(name: string, holding: Holding | undefined, folders: readonly string[]): string {
  if (holding !== undefined && (!holding.isDefault || name === ALL_REGISTRIES)) {
    return posix.join(holding.folder, FILE);
  }
  // A new folder hides nothing in the last one, and is hidden itself behind a `_default`.
  const parent = holding === undefined ? (folders.at(-1) ?? '/') : posix.dirname(holding.folder);
  return posix.join(parent, name, FILE);
}

/** What a new file must repeat, since it hides it. */
function inheritedBy(name: string, holding: Holding | undefined): string {
  if (holding === undefined) return '';
  if (holding.text === undefined) {
    const lines = certificateLines(holding);
    return lines === '' || name === ALL_REGISTRIES
      ? lines
      : `server = ${JSON.stringify(serverOf(name))}\n${lines}`;
  }
  return holding.isDefault && name !== ALL_REGISTRIES ? holding.text : '';
}

/** containerd 1 passes over a file without a host, so certificates need one: the registry itself. */
function inheritedByDirect(name: string, holding: Holding | undefined): string {
  const inherited = inheritedBy(name, holding);
  const certificates = holding === undefined ? '' : certificateLines(holding);
  if (certificates === '' || !isBare(parseToml(holding?.text ?? ''))) return inherited;
  return `${inherited}\n[host.${JSON.stringify(serverOf(name))}]\n${certificates}`;
}

/** containerd looks for certificates beside a `hosts.toml` only if there is no such file. */
function certificateLines({ folder, certificates }: Holding): string {
  const at = (file: string): string => JSON.stringify(posix.join(folder, file));
  const authorities = certificates.filter((file) => file.endsWith('.crt'));
  const pairs = certificates
    .filter((file) => file.endsWith('.cert'))
    .map((file) => [file, file.replace(/\.cert$/, '.key')] as const)
    .filter(([, key]) => certificates.includes(key));
  if (authorities.length + pairs.length === 0) return '';
  return [
    ...(authorities.length > 0 ? [`ca = [${authorities.map(at).join(', ')}]`] : []),
    ...(pairs.length > 0
      ? [`client = [${pairs.map(([cert, key]) => `[${at(cert)}, ${at(key)}]`).join(', ')}]`]
      : []),
    '',
  ].join('\n');
}

async function holdingOf(
  files: HostFiles,
  folders: readonly string[],
  name: string,
): Promise<Holding | undefined> {
  for (const parent of folders) {
    for (const each of new Set([name.replace(/:(\d+)$/, '_$1_'), name, ALL_REGISTRIES])) {
      const folder = posix.join(parent, each);
      const held = await readFolder(files, folder);
      if (held !== undefined) return { folder, isDefault: each === ALL_REGISTRIES, ...held };
    }
  }
  return undefined;
}

/** Undefined if there is no such folder, or nothing in it but Weir's own file. */
async function readFolder(
  files: HostFiles,
  folder: string,
): Promise<Pick<Holding, 'text' | 'certificates'> | undefined> {
  if (!(await files.exists(folder))) return undefined;
  const names = await files.list(folder);
  const path = posix.join(folder, FILE);
  const isFile = names.includes(FILE) && (await files.kindOf(path)) === 'file';
  const text = isFile ? await files.read(path) : undefined;
  const own = text === undefined ? undefined : withoutBlock(text);
  const isOurs = text !== undefined && hasBlock(text) && own?.trim() === '';
  const certificates = names.filter((each) => /\.(?:crt|cert|key)$/.test(each));
  if (isOurs && names.length === 1) return undefined;
  return { text: isOurs ? undefined : own, certificates };
}

function placesNotes(path: string, name: string, { elsewhere, server }: Places): readonly string[] {
  const what = name === ALL_REGISTRIES ? 'registries without a folder of their own' : name;
  if (server !== undefined) {
    return [
      `${path} sends ${what} to ${[...elsewhere, server].join(', then ')}, not to the registry that the mirror would ask: ` +
        `it is left as it is, and their pulls bypass the mirror`,
    ];
  }
  if (elsewhere.length === 0) return [];
  return [
    `${path} sends ${what} to ${elsewhere.join(', then ')} first: the mirror stands behind, in front of the registry itself`,
  ];
}

/** A registry's own folder wins over `_default`. An administrator decided that, so it is reported, not changed. */
async function othersNotes(
  files: HostFiles,
  found: readonly string[],
  folders: readonly string[],
  wish: Wish,
): Promise<readonly string[]> {
  if (!wish.registries.includes(ALL_REGISTRIES)) return [];
  const asked = new Set([...wish.registries, ...wish.direct]);
  const own = new Set<string>();
  for (const folder of found) {
    const name = posix.basename(folder).replace(/_(\d+)_$/, ':$1');
    if (!asked.has(name) && (await readFolder(files, folder)) !== undefined) own.add(name);
  }
  if (own.size === 0) return [];
  return [
    `${[...own].join(', ')}: has a folder of its own below ${folders.join(', ')}, so its pulls bypass the mirror; ` +
      `name it with --registries to put the mirror in front of its registry`,
  ];
}
