/** Finds files with a secret that other users can read: `openssl … > cluster.key` makes one, unless the umask forbids it. */
import { realpath, stat } from 'node:fs/promises';
import { geteuid } from 'node:process';

/** The group may not change the file; others may do nothing with it. */
const NOT_FOR_OTHERS = 0o027;
const NOT_FOR_THE_GROUP = 0o050;

/**
 * The folder in which the kubelet keeps the files of a Secret, behind links: `…/..2026_01_31_12_00_00.123456/key`. Their
 * mode is that of the volume, 0644 by default. It does not matter, as no other container has the volume.
 */
const KUBELET_FOLDER = /\/\.\.\d{4}_\d\d_\d\d_[^/]*\//;

/** A warning for each of these files that other users can read or change. */
export async function exposedFiles(paths: readonly string[]): Promise<readonly string[]> {
  const found = await Promise.all(paths.map(exposedFile));
  return found.filter((line) => line !== undefined);
}

async function exposedFile(path: string): Promise<string | undefined> {
  const file = await inspect(path);
  if (file === undefined) return undefined;
  const { mode, uid } = file;
  // A service gets a secret by `chown root:weir` and `chmod 640`: a file of root's may be readable by its group.
  const forbidden = uid === 0 ? NOT_FOR_OTHERS : NOT_FOR_OTHERS | NOT_FOR_THE_GROUP;
  if ((mode & forbidden) === 0) return undefined;
  const user = geteuid?.() ?? 0;
  // A process that is neither the owner nor root reads the file as one of the others: chmod would lock it out.
  const mend =
    user === uid || user === 0 ? `chmod 600 ${path}` : `chown ${user} ${path} && chmod 400 ${path}`;
  const bits = (mode & 0o777).toString(8).padStart(4, '0');
  return `${path} holds a secret and is open to other users of this machine (mode ${bits}); run: ${mend}`;
}

/** Undefined if the file is missing (its reader reports that), if it is a pipe, and if its mode does not matter. */
async function inspect(path: string): Promise<{ readonly mode: number; readonly uid: number } | undefined> {
  try {
    const real = await realpath(path);
    const stats = await stat(real);
    return stats.isFile() && !KUBELET_FOLDER.test(real) ? stats : undefined;
  } catch {
    return undefined; // its reader reports why it cannot be accessed
  }
}
