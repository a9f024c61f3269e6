/**
 * containerd's `hosts.toml`: one folder for each registry; `_default` is for all registries without a folder.
 *
 * Weir's mirror is put in front of the others: containerd tries mirrors in the order of the file, then the registry
 * itself. https://github.com/containerd/containerd/blob/main/docs/hosts.md
 */
import { EditError, type Edit } from './edit.ts';
import type { Resolver, Wish } from './target.ts';
import {
  block,
  hasBlock,
  isSame,
  parseToml,
  removeBlock,
  withBlock,
  withoutBlock,
  type TomlTable,
} from './toml-block.ts';

/** A duration as Go writes it. On loopback a connection takes far less than a millisecond. */
const DIAL_TIMEOUT = '200ms';

/** Puts the mirror in front of all others; for digests alone if tags are resolved at the registry. */
export function hostsTomlEdit({ mirrorUrl, resolve }: Pick<Wish, 'mirrorUrl' | 'resolve'>): Edit {
  return {
    add: (text = '') => {
      const own = withoutBlock(text);
      const hosts = hostsOf(parseToml(own));
      if (hosts[mirrorUrl] !== undefined) return own; // an administrator wrote it by hand
      return withBlock(own, tableOf(mirrorUrl, resolve), {
        before: /^\s*\[\s*"?host"?\s*\./,
        isRight: (after, before) => isMerged(after, before, mirrorUrl),
      });
    },
    remove: removeBlock,
  };
}

/** No mirror: pulls go straight to the registry. A file that an administrator has written stays as it is. */
export function directTomlEdit(): Edit {
  return {
    add: (text) => {
      if (text !== undefined && !hasBlock(text)) return text;
      return block(['# Pulled without a mirror: see --direct of "weir host configure --help".']);
    },
    remove: removeBlock,
  };
}

function tableOf(mirrorUrl: string, resolve: Resolver): readonly string[] {
  return [
    `[host.${JSON.stringify(mirrorUrl)}]`,
    `  capabilities = ${resolve === 'mirror' ? '["pull", "resolve"]' : '["pull"]'}`,
    `  dial_timeout = "${DIAL_TIMEOUT}"`,
  ];
}

function hostsOf(file: TomlTable): TomlTable {
  const hosts = file['host'] ?? {};
  if (!isTable(hosts)) throw new EditError('has a "host" that is no table');
  return hosts;
}

/** Whether ours is the first mirror, and all else is as before. */
function isMerged(after: TomlTable, before: TomlTable, mirrorUrl: string): boolean {
  const { [mirrorUrl]: own, ...others } = hostsOf(after);
  const [first] = Object.keys(hostsOf(after));
  const isFirst = first === mirrorUrl && isTable(own ?? '') && Object.keys(own ?? {}).length === 2;
  const rest = { ...after, host: others };
  return isFirst && isSame(rest, { ...before, host: { ...hostsOf(before) } });
}

function isTable(value: unknown): value is TomlTable {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);
}
