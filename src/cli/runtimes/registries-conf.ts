/**
 * The rules by which podman, skopeo, buildah and CRI-O read registries.conf (containers-registries.conf(5); the rules of
 * matching: `refMatchingPrefix` of https://github.com/containers/image/blob/main/pkg/sysregistriesv2).
 */
import type { TomlTable } from './toml-block.ts';

/** The tables by their prefix, which is the location where no prefix is given. */
export type RegistryTables = ReadonlyMap<string, TomlTable>;

/** A `[[registry.mirror]]`. */
export type Mirror = TomlTable & { readonly location: string };

/** A table in force for all references that begin with a name: its own, or a copy of the one that holds for it. */
export interface Derived {
  readonly table: TomlTable;
  /** Of the mirrors in order, then of the registry itself. */
  readonly mirrors: readonly Mirror[];
  readonly location: string;
  readonly isBlocked: boolean;
}

/** Whether `prefix` holds for a reference: it ends there, or `:`, `/` or `@` follows; `*.` stands for subdomains. */
export function isPrefixOf(prefix: string, reference: string): boolean {
  return endOf(prefix, reference) !== undefined;
}

/** Undefined where no table holds, so that the reference is pulled from where its name says. */
export function tableFor(
  reference: string,
  tables: RegistryTables,
): readonly [string, TomlTable] | undefined {
  let best: readonly [string, TomlTable] | undefined;
  for (const entry of tables) {
    if (isPrefixOf(entry[0], reference) && entry[0].length > (best?.[0].length ?? -1)) best = entry;
  }
  return best;
}

/**
 * What holds for `name` and all that is below it, as a table of its own: a nearer table replaces the farther one as a
 * whole, so a table that adds something begins as this copy.
 */
export function derive(name: string, tables: RegistryTables): Derived {
  const [prefix, table] = tableFor(name, tables) ?? [name, {}];
  const rest = name.slice(endOf(prefix, name) ?? name.length);
  const own = prefix.startsWith('*.') ? name : (textOf(table['location']) ?? prefix);
  const location = prefix.startsWith('*.') ? name : own + rest;
  const mirrors: Mirror[] = [];
  for (const mirror of Array.isArray(table['mirror']) ? (table['mirror'] as TomlTable[]) : []) {
    mirrors.push({ ...mirror, location: `${textOf(mirror['location']) ?? ''}${rest}` });
  }
  return {
    table: { ...table, prefix: name, location, ...(mirrors.length > 0 && { mirror: mirrors }) },
    mirrors,
    location,
    isBlocked: table['blocked'] === true,
  };
}

/** The index behind the part of `reference` that `prefix` matches. */
function endOf(prefix: string, reference: string): number | undefined {
  const domain = prefix.startsWith('*.') ? prefix.slice(1) : undefined;
  const at = domain === undefined ? 0 : reference.indexOf(domain);
  if (domain === undefined ? !reference.startsWith(prefix) : at < 1 || reference.slice(0, at).includes('/')) {
    return undefined;
  }
  const end = at + (domain ?? prefix).length;
  return end === reference.length || /[:/@]/.test(reference[end] ?? '') ? end : undefined;
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}
