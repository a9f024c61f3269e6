/** Names of a test's own: a program sees a private /etc/hosts. Needs root. */
import { writeFile } from 'node:fs/promises';
import type { TempDir } from './temp.ts';

/** Argv that runs a program which resolves these names so; `dir` must outlive it. */
export async function privateHosts(
  dir: TempDir,
  names: Readonly<Record<string, string>>,
): Promise<readonly string[]> {
  const file = dir.join('hosts');
  const lines = Object.entries({ localhost: '127.0.0.1', ...names }).map(([name, to]) => `${to} ${name}\n`);
  await writeFile(file, lines.join(''));
  const script = `mount --make-rprivate / && mount --bind '${file}' /etc/hosts && exec "$@"`;
  return ['unshare', '--mount', 'sh', '-c', script, 'sh'];
}
