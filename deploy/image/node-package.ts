/** The Node.js binary of an architecture, from npm, as package-lock.json locks it. */
import { access, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CommandError, runOk } from './command.ts';
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

/**
 * Installs it into `work`, by npm and with the lock's hash (npm keeps what it fetches in a cache of its own). Not by
 * `npm pack`, which takes minutes for the thousands of headers that are in the package.
 */
export async function fetchNode(root: string, work: string, arch: Architecture): Promise<NodePackage> {
  const name = arch.nodePackage;
  const lock = JSON.parse(await readFile(join(root, 'package-lock.json'), 'utf8')) as Lock;
  const path = `node_modules/${name}`;
  const locked = lock.packages[path];
  if (locked === undefined) throw new Error(`package-lock.json has no ${name}`);
  const own = { name: 'weir-image', version: '0.0.0', optionalDependencies: { [name]: locked.version } };
  const packages = { '': own, [path]: locked };
  await mkdir(work, { recursive: true });
  await writeFile(join(work, 'package.json'), JSON.stringify(own));
  await writeFile(join(work, 'package-lock.json'), JSON.stringify({ ...own, lockfileVersion: 3, packages }));
  const quiet = ['--no-audit', '--no-fund', '--loglevel=error'];
  const how = ['--ignore-scripts', '--os=linux', `--cpu=${arch.npmCpu}`, ...quiet];
  await runOk('npm', ['ci', ...how], { cwd: work });
  const folder = join(work, path);
  try {
    await access(join(folder, 'bin/node'));
  } catch (cause) {
    // npm passes over a package that is optional: the one of another architecture can be no other.
    throw new CommandError(`npm has no ${name} ${locked.version} with the hash of package-lock.json`, {
      cause,
    });
  }
  return { name, version: locked.version, folder };
}
