/**
 * Where podman pulls from, written from containers-registries.conf(5) and the code of containers/image, on its own:
 * https://github.com/containers/image/blob/main/pkg/sysregistriesv2/system_registries_v2.go
 */
import { parse } from 'smol-toml';

export interface PodmanPlace {
  readonly place: string;
  readonly insecure: boolean;
  /** `pull-from-mirror` */
  readonly usedFor: string;
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

/** @param files the main file, then those of registries.conf.d by their names */
export function podmanPlaces(
  reference: string,
  files: readonly string[],
): readonly PodmanPlace[] | 'blocked' | 'invalid' {
  const tables = new Map<string, Table>();
  for (const text of files) {
    for (const table of (parse(text)['registry'] ?? []) as Table[])
      tables.set(table.prefix ?? table.location ?? '', table);
  }
  let found: Table = {};
  let prefix: string | undefined;
  for (const [each, table] of tables) {
    if (matched(reference, each) === -1 || each.length <= (prefix?.length ?? -1)) continue;
    prefix = each;
    found = table;
  }
  if (found.blocked === true) return 'blocked';
  const rest = prefix === undefined ? '' : reference.slice(matched(reference, prefix));
  const at = (location: string | undefined): string =>
    location === undefined || prefix === undefined ? reference : location + rest;
  const own = found.location ?? (prefix?.startsWith('*.') === true ? undefined : prefix);
  const places = [
    ...(found.mirror ?? []).map(({ location, insecure = false, 'pull-from-mirror': usedFor = 'all' }) => ({
      place: at(location),
      insecure,
      usedFor,
    })),
    { place: at(own), insecure: found.insecure ?? false, usedFor: 'all' },
  ];
  // One place that is no reference fails the pull as a whole.
  return places.every(({ place }) => /^[^/:]+(?::\d+)?(?:\/[^:/]+)+$/.test(place)) ? places : 'invalid';
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
