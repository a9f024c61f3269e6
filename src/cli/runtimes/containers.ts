/**
 * podman, CRI-O, skopeo and buildah: a file of ours in `registries.conf.d`. It has one table for each registry, as there
 * is no table for all. A table in a later file replaces an earlier one, so ours begins as a copy of the effective one.
 */
import { posix } from 'node:path';
import { stringify } from 'smol-toml';
import { editing, type Edit } from './edit.ts';
import type { HostFiles } from './host-files.ts';
import { ALL_REGISTRIES, existsAny, programPaths, type Detect, type Resolver, type Wish } from './target.ts';
import { block, parseToml, removeBlock, withoutBlock, type TomlTable } from './toml-block.ts';

const FOLDER = '/etc/containers/registries.conf.d';
const MAIN = '/etc/containers/registries.conf';
/** Sorted behind all other files: the last table of a registry holds. */
const OWN = posix.join(FOLDER, '99-weir.conf');
/** Public registries, for `_default`. */
const PUBLIC = [
  'docker.io',
  'ghcr.io',
  'quay.io',
  'registry.k8s.io',
  'gcr.io',
  'mcr.microsoft.com',
  'public.ecr.aws',
];

/** These runtimes fetch the whole image from the source of its manifest. */
const DIGEST_ONLY_NOTE =
  '--resolve registry: podman and CRI-O pull an image through the mirror if it is named by its digest (NAME@sha256:…). ' +
  'An image that is named by a tag comes from the registry, with all of its layers. podman before 4.2 and CRI-O before ' +
  '1.25 do not know the setting, and ask the mirror for tags too';

export const detectContainers: Detect = async (files, wish, isNamed) => {
  if (
    !isNamed &&
    !(await existsAny(files, [MAIN, FOLDER, ...programPaths('podman'), ...programPaths('crio')]))
  )
    return undefined;
  const { tables, isVersion1 } = await readTables(files);
  const asked = wish.registries.flatMap((name) => (name === ALL_REGISTRIES ? PUBLIC : [name]));
  const names = [...new Set(asked)];
  if (isVersion1) {
    const note = `${MAIN} is written in the old form ([registries.search]), which takes no mirrors: nothing was changed`;
    return { runtime: 'containers', targets: [], notes: [note] };
  }
  return {
    runtime: 'containers',
    targets: [
      {
        path: OWN,
        edit: ownFile(names, tables, wish),
        takesEffect: 'at the next pull; CRI-O: once it is reloaded (SIGHUP)',
      },
    ],
    notes: [
      ...(wish.registries.includes(ALL_REGISTRIES)
        ? [
            `podman and CRI-O have no mirror for all registries. Pulls of these go through it: ${names.join(', ')}; name others with --registries`,
          ]
        : []),
      ...(wish.resolve === 'registry' ? [DIGEST_ONLY_NOTE] : []),
    ],
  };
};

function ownFile(names: readonly string[], tables: ReadonlyMap<string, TomlTable>, wish: Wish): Edit {
  const mirror = new URL(wish.mirrorUrl);
  const registries = names.flatMap((name) => {
    const table = tables.get(name);
    // A mirror would unblock the registry. A name with a port cannot be in a mirror's path.
    return table?.['blocked'] === true || name.includes(':')
      ? []
      : [withMirror(name, table, mirror, wish.resolve)];
  });
  const direct = wish.direct
    .filter((name) => !tables.has(name))
    .map((name) => ({ prefix: name, location: name }));
  const lines = stringify({ registry: [...direct, ...registries] })
    .trimEnd()
    .split('\n');
  return {
    add: (text = '') => withoutBlock(text) + block(lines),
    remove: removeBlock,
  };
}

function withMirror(name: string, table: TomlTable | undefined, mirror: URL, resolve: Resolver): TomlTable {
  const others = Array.isArray(table?.['mirror']) ? table['mirror'] : [];
  // A file must not have both; the setting of the table holds for all of its mirrors.
  const isSaid = table?.['mirror-by-digest-only'] === true;
  const own = {
    location: `${mirror.host}/${name}`,
    ...(mirror.protocol === 'http:' && { insecure: true }),
    ...(resolve === 'registry' && !isSaid && { 'pull-from-mirror': 'digest-only' }),
  };
  return { ...(table ?? { prefix: name, location: name }), mirror: [own, ...others] };
}

/** The effective tables without ours, by prefix. */
async function readTables(
  files: HostFiles,
): Promise<{ tables: Map<string, TomlTable>; isVersion1: boolean }> {
  const names = (await files.list(FOLDER))
    .filter((name) => name.endsWith('.conf'))
    .map((name) => posix.join(FOLDER, name));
  const tables = new Map<string, TomlTable>();
  let isVersion1 = false;
  for (const path of [MAIN, ...names.filter((name) => name !== OWN)]) {
    const file = await readToml(files, path);
    isVersion1 ||= file['registries'] !== undefined;
    for (const table of Array.isArray(file['registry']) ? (file['registry'] as TomlTable[]) : []) {
      const name = table['prefix'] ?? table['location'];
      if (typeof name === 'string') tables.set(name, table);
    }
  }
  return { tables, isVersion1 };
}

async function readToml(files: HostFiles, path: string): Promise<TomlTable> {
  const text = await files.read(path);
  return text === undefined ? {} : editing(path, () => parseToml(text));
}
