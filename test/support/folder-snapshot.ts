/** All files below a folder, with their modes and bytes, to compare them with a later snapshot. */
import { createHash } from 'node:crypto';
import { lstat, readdir, readFile, readlink } from 'node:fs/promises';
import { join, relative } from 'node:path';

/** Files by path, without empty folders. */
export async function snapshot(folder: string): Promise<Readonly<Record<string, string>>> {
  const found: Record<string, string> = {};
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (entry.isDirectory()) continue;
    const path = join(entry.parentPath, entry.name);
    const { mode, uid, gid } = await lstat(path);
    const content = entry.isSymbolicLink() ? await readlink(path) : await sha256(path);
    found[relative(folder, path)] = `${mode.toString(8)} ${uid}:${gid} ${content}`;
  }
  return found;
}

async function sha256(path: string): Promise<string> {
  return createHash('sha256')
    .update(await readFile(path))
    .digest('hex');
}
