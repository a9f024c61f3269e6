/** The Debian package of this tree for this machine, built once for all tests of a run. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { madeOnce } from './run-folder.ts';

/** What {@link builtDeb} needs, for `requires`. */
export const DEB_BUILDING: readonly string[] = ['dpkg-deb', 'npm', 'flock'];

const BUILD: string = fileURLToPath(new URL('../../deploy/deb/build.sh', import.meta.url));

/** @returns its path */
export async function builtDeb(): Promise<string> {
  // The level of compression is all that differs from what is published.
  const folder = await madeOnce('deb', [BUILD, '--out'], { WEIR_DEB_LEVEL: '0' });
  const [file] = await readdir(folder);
  if (file === undefined) throw new Error(`${BUILD} has built nothing`);
  return join(folder, file);
}
