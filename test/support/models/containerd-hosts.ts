/**
 * Where containerd pulls from, written from docs/hosts.md and the code of containerd, on its own:
 * https://github.com/containerd/containerd/tree/main/core/remotes/docker/config
 */
import { readdir, readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { parse } from 'smol-toml';

export interface ContainerdPlace {
  /** `https://host/v2/…` without `/v2` at its end. */
  readonly place: string;
  /** Paths of certificates that hold there. */
  readonly certificates: readonly string[];
}

/** containerd 1 passes over a `hosts.toml` without a table `host`, as if it were not there. */
export type ContainerdVersion = 1 | 2;

/** @param root of the machine; `folders` are those of `config_path` */
export async function containerdPlaces(
  root: string,
  folders: readonly string[],
  registry: string,
  version: ContainerdVersion,
): Promise<readonly ContainerdPlace[]> {
  const own = `https://${registry === 'docker.io' ? 'registry-1.docker.io' : registry}`;
  const [host = '', port] = registry.split(':');
  for (const parent of folders) {
    for (const name of [...(port === undefined ? [] : [`${host}_${port}_`]), registry, '_default']) {
      const folder = join(root, parent, name);
      const names = await readdir(folder).catch(() => undefined);
      if (names === undefined) continue;
      const text = names.includes('hosts.toml')
        ? await readFile(join(folder, 'hosts.toml'), 'utf8')
        : undefined;
      if (text !== undefined && (version === 2 || 'host' in parse(text))) {
        return placesOf(text, own, (path) => resolve('/', join(parent, name), path));
      }
      return [
        {
          place: own,
          certificates: names.filter((each) => each.endsWith('.crt')).map((each) => join(parent, name, each)),
        },
      ];
    }
  }
  return [{ place: own, certificates: [] }];
}

function placesOf(text: string, own: string, at: (path: string) => string): readonly ContainerdPlace[] {
  const {
    host = {},
    server,
    ca,
  } = parse(text) as {
    host?: Record<string, { ca?: string | string[] }>;
    server?: string;
    ca?: string | string[];
  };
  const certificates = [ca ?? []].flat().map(at);
  return [
    ...Object.entries(host).map(([place, table]) => ({
      place,
      certificates: [table.ca ?? []].flat().map(at),
    })),
    { place: server ?? own, certificates },
  ];
}
