/**
 * Where podman pulls from, written from containers-registries.conf(5) and the code of containers/image, on its own:
 * https://github.com/containers/image/blob/main/pkg/sysregistriesv2/system_registries_v2.go
 */
import { parse } from 'smol-toml';

export interface PodmanPlace {
  readonly place: string;
  readonly insecure: boolean;
  /** It is refused: `blocked` of the table that holds for the place itself. */
  readonly isBlocked: boolean;
}

interface Table {
  readonly prefix?: string;
  readonly location?: string;
  readonly insecure?: boolean;
  readonly blocked?: boolean;
  readonly mirror?: readonly {
    readonly location: string;
    readonly insecure?: boolean;
    readonly 'pull-from-mirror'?: string;
  }[];
}

/** What the name of an image ends with. */
export type ReferenceKind = 'tag' | 'digest';

/** @param files the main file, then those of registries.conf.d by their names */
export function podmanPlaces(
  reference: string,
  kind: ReferenceKind,
  files: readonly string[],
): readonly PodmanPlace[] | 'invalid' {
  const tables = tablesOf(files);
  const [prefix, table] = tableFor(reference, tables);
  const rest = prefix === undefined ? '' : reference.slice(matched(reference, prefix));
  const own = table.location ?? (prefix?.startsWith('*.') === true ? undefined : prefix);
  const mirrors = (table.mirror ?? []).filter(({ 'pull-from-mirror': used = 'all' }) =>
    ['all', `${kind}-only`].includes(used),
  );
  const places = [...mirrors, { location: own, insecure: table.insecure }].map(({ location, insecure }) => {
    const place = location === undefined || prefix === undefined ? reference : location + rest;
    return { place, insecure: insecure ?? false, isBlocked: tableFor(place, tables)[1].blocked ?? false };
  });
  // One place that is no reference fails the pull as a whole. Docker Hub's names have two parts.
  const isValid = (place: string): boolean =>
    /^(?!docker\.io\/[^/]+$)[^/:]+(?::\d+)?(?:\/[^:/]+)+$/.test(place);
  return places.every(({ place }) => isValid(place)) ? places : 'invalid';
}

/** Tables of one place must agree, or podman refuses all files. */
export function areAccepted(files: readonly string[]): boolean {
  const tables = [...tablesOf(files)].map(
    ([prefix, { location = prefix, insecure = false, blocked = false }]) => ({
      location,
      setting: JSON.stringify([insecure, blocked]),
    }),
  );
  return tables.every((a) => tables.every((b) => a.location !== b.location || a.setting === b.setting));
}

function tablesOf(files: readonly string[]): ReadonlyMap<string, Table> {
  const tables = new Map<string, Table>();
  for (const text of files) {
    for (const table of (parse(text)['registry'] ?? []) as Table[])
      tables.set(table.prefix ?? table.location ?? '', table);
  }
  return tables;
}

function tableFor(
  reference: string,
  tables: ReadonlyMap<string, Table>,
): readonly [string | undefined, Table] {
  let found: readonly [string | undefined, Table] = [undefined, {}];
  for (const [prefix, table] of tables) {
    if (matched(reference, prefix) !== -1 && prefix.length > (found[0]?.length ?? -1))
      found = [prefix, table];
  }
  return found;
}

function matched(reference: string, prefix: string): number {
  let end = prefix.length;
  if (prefix.startsWith('*.')) {
    const at = reference.indexOf(prefix.slice(1));
    if (at <= 0 || reference.slice(0, at).includes('/')) return -1;
    end = at + prefix.length - 1;
  } else if (!reference.startsWith(prefix)) return -1;
  return end === reference.length || ':/@'.includes(reference.charAt(end)) ? end : -1;
}
