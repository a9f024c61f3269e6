/**
 * podman, CRI-O, skopeo and buildah: a file of ours in `registries.conf.d`. It has one table for each registry, as there
 * is no table for all. A table in a later file replaces an earlier one, and a longer prefix a shorter one, so each of
 * ours begins as a copy of what holds without it. In front of each place that such a table names, Weir's mirror is asked
 * for that very place.
 */
import { posix } from 'node:path';
import { stringify } from 'smol-toml';
import { editing, type Edit } from './edit.ts';
import type { HostFiles } from '../../host/host-files.ts';
import { derive, isPrefixOf, tableFor, type Derived, type RegistryTables } from './registries-conf.ts';
import { ALL_REGISTRIES, existsAny, programPaths, type Detect, type Wish } from './target.ts';
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
/** The port that people write behind a name: the one that is meant without. */
const DEFAULT_PORT = ':443';

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
  const ours = ourTables(names, tables, wish);
  return {
    runtime: 'containers',
    targets:
      ours.size === 0
        ? []
        : [
            {
              path: OWN,
              edit: ownFile([...ours.values()]),
              takesEffect: 'at the next pull; CRI-O: once it is reloaded (SIGHUP)',
            },
          ],
    notes: [
      ...notesOn(names, tables, ours, wish),
      ...(wish.resolve === 'registry' ? [DIGEST_ONLY_NOTE] : []),
    ],
  };
};

function ourTables(names: readonly string[], tables: RegistryTables, wish: Wish): RegistryTables {
  const ours = new Map<string, TomlTable>();
  for (const name of names) {
    const derived = derive(name, tables);
    if (derived.isBlocked) continue; // a mirror would unblock the registry
    const added = [withMirror(derived, tables, wish)];
    // A prefix also holds for the name with any port, but what replaces it in a mirror's location cannot be followed by one:
    // `docker.io:443/…` could not be pulled at all. So it has a table without the mirror.
    const withPort = name + DEFAULT_PORT;
    if (!/[:/]/.test(name) && !tables.has(withPort)) added.push(derive(withPort, tables).table);
    if (added.some((table) => contradicts(table, tables))) continue;
    for (const table of added) ours.set(table['prefix'] as string, table);
  }
  for (const name of wish.direct.filter((each) => !tables.has(each))) {
    const { table } = derive(name, tables);
    if (!contradicts(table, tables)) ours.set(name, table);
  }
  return ours;
}

/** podman refuses all files if two tables of one place differ in these. */
function contradicts(table: TomlTable, tables: RegistryTables): boolean {
  return [...tables].some(
    ([prefix, other]) =>
      prefix !== table['prefix'] &&
      (other['location'] ?? prefix) === table['location'] &&
      ['insecure', 'blocked'].some((key) => (other[key] ?? false) !== (table[key] ?? false)),
  );
}

function ownFile(registry: TomlTable[]): Edit {
  const lines = stringify({ registry }).trimEnd().split('\n');
  return {
    add: (text = '') => withoutBlock(text) + block(lines),
    remove: removeBlock,
  };
}

function withMirror({ table, mirrors, location }: Derived, tables: RegistryTables, wish: Wish): TomlTable {
  const mirror = new URL(wish.mirrorUrl);
  // An administrator wrote it by hand.
  if (mirrors.some((each) => each.location.startsWith(`${mirror.host}/`))) return table;
  // A file must not have both; the setting of the table holds for all of its mirrors.
  const isSaid = table['mirror-by-digest-only'] === true;
  const usage = wish.resolve === 'registry' && !isSaid ? 'digest-only' : undefined;
  const inFront = (place: string, of: TomlTable = {}): readonly TomlTable[] => {
    const path = placeInPath(place);
    const own = of['pull-from-mirror'];
    // A place that is blocked is refused by its own name; by the mirror's it would not be.
    const isBlocked = tableFor(place, tables)?.[1]['blocked'] === true;
    if (path === undefined || isBlocked || (usage !== undefined && own === 'tag-only')) return [];
    const pulls = own === undefined || own === 'all' ? (usage ?? own) : own;
    return [
      {
        location: `${mirror.host}/${path}`,
        ...(mirror.protocol === 'http:' && { insecure: true }),
        ...(pulls !== undefined && { 'pull-from-mirror': pulls }),
      },
    ];
  };
  const sources = mirrors.flatMap((each) => [...inFront(each.location, each), each]);
  return { ...table, mirror: [...sources, ...inFront(location)] };
}

/** A place as path elements for the mirror (src/mirror/route.ts); undefined: it cannot be written so. */
function placeInPath(place: string): string | undefined {
  const [host = '', ...path] = place.split('/');
  if (host.startsWith('[')) return undefined;
  // A host without a dot reads as a part of a name, unless a port follows.
  if (!/[.:]/.test(host) && host !== 'localhost') return undefined;
  return [host.replace(/:(\d+)$/, '__$1'), ...path].join('/');
}

function notesOn(
  names: readonly string[],
  tables: RegistryTables,
  ours: RegistryTables,
  wish: Wish,
): readonly string[] {
  const derived = names.map((name) => [name, derive(name, tables)] as const);
  const blocked = derived.filter(([, { isBlocked }]) => isBlocked).map(([name]) => name);
  const unblocked = derived.filter(([, { isBlocked }]) => !isBlocked);
  const open = unblocked.filter(([name]) => ours.has(name));
  const contradicting = unblocked.filter(([name]) => !ours.has(name)).map(([name]) => name);
  const bare = open.map(([name]) => name).find((name) => !/[:/]/.test(name));
  const elsewhere = open
    .map(
      ([name, { mirrors, location }]) => [name, [...mirrors.map((each) => each.location), location]] as const,
    )
    .filter(([name, places]) => places.length > 1 || places[0] !== name);
  const below = [...tables.keys()].filter((prefix) =>
    open.some(([name]) => prefix !== name && isPrefixOf(name, prefix)),
  );
  return [
    ...(wish.registries.includes(ALL_REGISTRIES)
      ? [
          `podman and CRI-O have no mirror for all registries. Pulls of these go through it: ` +
            `${open.map(([name]) => name).join(', ') || 'none'}; name others with --registries`,
        ]
      : []),
    ...(bare === undefined
      ? []
      : [
          `a name that is followed by a port other than 443 (${bare}:5000/…) cannot be pulled by podman and ` +
            `CRI-O beside a mirror of the bare name: put such names into --registries or --direct`,
        ]),
    ...(blocked.length > 0 ? [`${blocked.join(', ')}: blocked, and stays so`] : []),
    ...(contradicting.length > 0
      ? [
          `${contradicting.join(', ')}: another table of the same place differs in insecure or blocked, and podman refuses ` +
            `all files then; its pulls bypass the mirror`,
        ]
      : []),
    ...elsewhere.map(
      ([name, places]) =>
        `${name}: is pulled from ${places.join(', then ')}, as before; the mirror is asked for these places`,
    ),
    ...(below.length > 0
      ? [`${below.join(', ')}: has a table of its own, so its pulls bypass the mirror`]
      : []),
  ];
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
