/** The Node.js binary of an architecture, from npm, as package-lock.json locks it and as nodejs.org publishes it. */
import { createHash } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runOk } from './command.ts';
import { checkBinary } from './node-sums.ts';
import type { Architecture } from './platforms.ts';

export interface NodePackage {
  readonly name: string;
  readonly version: string;
  /** Folder with bin/node and LICENSE. */
  readonly folder: string;
}

interface Lock {
  readonly packages: Readonly<Record<string, { readonly version: string; readonly integrity: string }>>;
}

/** Fetches it into `cache`, unless it is there already, and unpacks it there. */
export async function fetchNode(root: string, cache: string, arch: Architecture): Promise<NodePackage> {
  const name = arch.nodePackage;
  const lock = JSON.parse(await readFile(join(root, 'package-lock.json'), 'utf8')) as Lock;
  const locked = lock.packages[`node_modules/${name}`];
  if (locked === undefined) throw new Error(`package-lock.json has no ${name}`);
  const { version, integrity } = locked;
  const tarball = join(cache, `${name}-${version}.tgz`);
  if ((await integrityOf(tarball)) !== integrity) {
    await mkdir(cache, { recursive: true });
    await runOk('npm', ['pack', '--silent', '--pack-destination', cache, `${name}@${version}`], {
      cwd: cache,
    });
  }
  const found = await integrityOf(tarball);
  if (found !== integrity) throw new Error(`${tarball} is ${found}; package-lock.json wants ${integrity}`);
  const folder = join(cache, `${name}-${version}`);
  await mkdir(folder, { recursive: true });
  const parts = ['package/bin/node', 'package/LICENSE'];
  await runOk('tar', ['-xzf', tarball, '--directory', folder, '--strip-components=1', ...parts]);
  await checkBinary(join(folder, 'bin/node'), name, version);
  return { name, version, folder };
}

async function integrityOf(file: string): Promise<string | undefined> {
  const bytes = await readFile(file).catch(() => undefined);
  return bytes && `sha512-${createHash('sha512').update(bytes).digest('base64')}`;
}
