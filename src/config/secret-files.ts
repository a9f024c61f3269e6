/** Files that hold a secret and that others can read: an `openssl … > cluster.key` makes one, unless the umask says no. */
import { realpath, stat } from 'node:fs/promises';
import { geteuid } from 'node:process';

/** The group may not change it, others may do nothing. */
const NOT_FOR_OTHERS = 0o027;
const NOT_FOR_THE_GROUP = 0o050;

/**
 * Where the kubelet keeps the files of a Secret, behind links: `…/..2026_01_31_12_00_00.123456/key`. Their mode is that of the
 * volume, 0644 by default, and says nothing: the volume is in no other container.
 */
const KUBELET_FOLDER = /\/\.\.\d{4}_\d\d_\d\d_[^/]*\//;

/** What to tell of those of these files that others can read or change, a line each. */
export async function exposedFiles(paths: readonly string[]): Promise<readonly string[]> {
  const found = await Promise.all(paths.map(exposedFile));
  return found.filter((line) => line !== undefined);
}

async function exposedFile(path: string): Promise<string | undefined> {
  const file = await inspect(path);
  if (file === undefined) return undefined;
  const { mode, uid } = file;
  // `chown root:weir` and `chmod 640` are how a service is given a secret: what root owns, its group may read.
  const forbidden = uid === 0 ? NOT_FOR_OTHERS : NOT_FOR_OTHERS | NOT_FOR_THE_GROUP;
  if ((mode & forbidden) === 0) return undefined;
  const user = geteuid?.() ?? 0;
  // Who is neither its owner nor root reads it as one of the others, and would lose it with their rights.
  const mend =
    user === uid || user === 0 ? `chmod 600 ${path}` : `chown ${user} ${path} && chmod 400 ${path}`;
  const bits = (mode & 0o777).toString(8).padStart(4, '0');
  return `${path} holds a secret and is open to other users of this machine (mode ${bits}); run: ${mend}`;
}

/** Undefined where there is no file (who reads it tells), where it is a pipe, and where its mode says nothing. */
async function inspect(path: string): Promise<{ readonly mode: number; readonly uid: number } | undefined> {
  try {
    const real = await realpath(path);
    const stats = await stat(real);
    return stats.isFile() && !KUBELET_FOLDER.test(real) ? stats : undefined;
  } catch {
    return undefined; // it cannot be looked at: whoever reads it says why
  }
}
