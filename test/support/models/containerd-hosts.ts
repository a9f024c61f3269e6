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

/** @param root of the machine; `folders` are those of `config_path` */
export async function containerdPlaces(
  root: string,
  folders: readonly string[],
  registry: string,
): Promise<readonly ContainerdPlace[]> {
  const own = `https://${registry === 'docker.io' ? 'registry-1.docker.io' : registry}`;
  const [host = '', port] = registry.split(':');
  for (const parent of folders) {
    for (const name of [...(port === undefined ? [] : [`${host}_${port}_`]), registry, '_default']) {
      const folder = join(root, parent, name);
      const names = await readdir(folder).catch(() => undefined);
      if (names === undefined) continue;
      if (names.includes('hosts.toml')) {
        const text = await readFile(join(folder, 'hosts.toml'), 'utf8');
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
  const { host = {}, server, ca } = parse(text) as { host?: object; server?: string; ca?: string | string[] };
  const certificates = [ca ?? []].flat().map(at);
  return [
    ...Object.keys(host).map((place) => ({ place, certificates: [] })),
    { place: server ?? own, certificates },
  ];
}
