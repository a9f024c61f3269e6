/**
 * containerd's `hosts.toml`: one folder for each registry; `_default` is for all registries without a folder.
 *
 * containerd asks the hosts in the order of the file, then the `server`, which is the registry of the name if the file does
 * not say otherwise. Weir asks the registry of the name. So it stands right before that registry: behind hosts that
 * deliver the name from elsewhere, and nowhere if the server is elsewhere.
 * https://github.com/containerd/containerd/blob/main/docs/hosts.md
 */
import { EditError, type Edit } from './edit.ts';
import { ALL_REGISTRIES, type Resolver, type Wish } from './target.ts';
import {
  block,
  isSame,
  parseToml,
  removeBlock,
  withBlock,
  withoutBlock,
  withoutMarks,
  type TomlTable,
} from './toml-block.ts';

/** A duration as Go writes it. On loopback a connection takes far less than a millisecond. */
const DIAL_TIMEOUT = '200ms';

const DOCKER_HUB = 'docker.io';
const HUB_HOSTS: ReadonlySet<string> = new Set([DOCKER_HUB, 'registry-1.docker.io', 'index.docker.io']);

/** Where containerd finds what a name stands for, by a `hosts.toml`. */
export interface Places {
  /** Hosts that are asked first, without those that are the registry itself. */
  readonly elsewhere: readonly string[];
  /** The last to be asked, if that is not the registry of the name. */
  readonly server: string | undefined;
}

/**
 * @param name a registry or {@link ALL_REGISTRIES}
 * @throws EditError
 */
export function placesOf(text: string, name: string, mirrorUrl: string): Places {
  const file = parseToml(withoutBlock(text));
  const server = file['server'];
  return {
    elsewhere: Object.keys(hostsOf(file)).filter(
      (url) => !isRegistry(url, name) && !isMirror(url, mirrorUrl),
    ),
    server: typeof server === 'string' && !isRegistry(server, name) ? server : undefined,
  };
}

/**
 * Puts the mirror in front of the registry; for digests alone if tags are resolved at the registry.
 * @param name of the folder
 * @param inherited what holds for the registry while it has no file: this file would hide it
 * @param certificates `ca` and `client` for a bare file
 */
export function hostsTomlEdit(
  { mirrorUrl, resolve }: Pick<Wish, 'mirrorUrl' | 'resolve'>,
  name: string,
  inherited = '',
  certificates = '',
): Edit {
  const add = (own: string): string => {
    const file = parseToml(own);
    const hosts = hostsOf(file);
    const urls = Object.keys(hosts);
    if (urls.some((url) => isMirror(url, mirrorUrl))) return own; // an administrator wrote it by hand
    const place = urls.findLastIndex((url) => !isRegistry(url, name)) + 1;
    const added = isBare(file) ? linesOf(certificates) : [];
    return withBlock(own, [...added, ...tableOf(mirrorUrl, resolve)], {
      before: /^\s*\[\s*"?host"?\s*\./,
      isRight: (after, before) =>
        isMerged(after, { ...before, ...parseToml(added.join('\n')) }, mirrorUrl, place),
    });
  };
  return {
    add: (text) => {
      const own = text === undefined ? '' : withoutBlock(text);
      return own.trim() === '' && inherited !== ''
        ? own + block(linesOf(withoutMarks(add(inherited))))
        : add(own);
    },
    remove: removeBlock,
  };
}

/** No mirror, but what held before. A file that an administrator has written stays as it is. */
export function directTomlEdit(inherited = ''): Edit {
  return {
    add: (text = '') => {
      const own = withoutBlock(text);
      if (own.trim() !== '') return own;
      return (
        own +
        block([
          '# Pulled without the mirror: see --direct of "weir host configure --help".',
          ...linesOf(inherited),
        ])
      );
    },
    remove: removeBlock,
  };
}

/** containerd 1 passes over a file without a table `host`, and finds the certificates beside it. */
export function isBare(file: TomlTable): boolean {
  return file['host'] === undefined && file['ca'] === undefined && file['client'] === undefined;
}

function linesOf(text: string): readonly string[] {
  return text.trim() === '' ? [] : text.trimEnd().split(/\r?\n/);
}

function tableOf(mirrorUrl: string, resolve: Resolver): readonly string[] {
  return [
    `[host.${JSON.stringify(mirrorUrl)}]`,
    `  capabilities = ${resolve === 'mirror' ? '["pull", "resolve"]' : '["pull"]'}`,
    `  dial_timeout = "${DIAL_TIMEOUT}"`,
  ];
}

/** Whether a URL of the file is the registry of that name; a URL without a scheme is one of https. */
export function isRegistry(text: string, name: string): boolean {
  const url = URL.parse(/^https?:\/\//.test(text) ? text : `https://${text}`);
  if (url === null || name === ALL_REGISTRIES || !/^\/(?:v2\/?)?$/.test(url.pathname)) return false;
  return placeOf(url.host) === placeOf(name.replace(/_(\d+)_$/, ':$1'));
}

/** k3s writes an endpoint with `/v2`. */
function isMirror(url: string, mirrorUrl: string): boolean {
  return url.replace(/\/(?:v2\/?)?$/, '') === mirrorUrl;
}

/** The address of a registry as `server` of its file. */
export function serverOf(name: string): string {
  return `https://${placeOf(name) === DOCKER_HUB ? 'registry-1.docker.io' : name}`;
}

/** Equal for the names of one registry. */
function placeOf(host: string): string {
  const place = host.toLowerCase().replace(/:443$/, '');
  return HUB_HOSTS.has(place) ? DOCKER_HUB : place;
}

function hostsOf(file: TomlTable): TomlTable {
  const hosts = file['host'] ?? {};
  if (!isTable(hosts)) throw new EditError('has a "host" that is no table');
  return hosts;
}

/** Whether ours is the mirror at its place, and all else is as before. */
function isMerged(after: TomlTable, before: TomlTable, mirrorUrl: string, place: number): boolean {
  const { [mirrorUrl]: own, ...others } = hostsOf(after);
  const isThere = Object.keys(hostsOf(after))[place] === mirrorUrl;
  const isOurs = isThere && isTable(own ?? '') && Object.keys(own ?? {}).length === 2;
  const rest = { ...after, host: others };
  return isOurs && isSame(rest, { ...before, host: { ...hostsOf(before) } });
}

function isTable(value: unknown): value is TomlTable {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);
}
