/**
 * The needs of a group of tests from the machine.
 *
 * `requires('containerd', 'root')('title', () => { … })` is `describe` if all is there; a need may also be a path. If
 * something is missing, the group is reported as left out (pending) with the reason in its title. Under CI it fails.
 */
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Debian keeps daemons in sbin folders, which are not on every user's PATH. */
const SYSTEM_FOLDERS = ['/usr/local/sbin', '/usr/sbin', '/sbin'];

/** Path of `program`, or undefined. */
export function findProgram(program: string): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), ...SYSTEM_FOLDERS];
  return folders.map((folder) => join(folder, program)).find(isExecutable);
}

/** Describes tests that need these programs, and `root` if it is named. */
export function requires(
  ...needs: readonly string[]
): (title: string, body: (this: Mocha.Suite) => void) => void {
  const missing = needs.filter((need) => !isThere(need));
  if (missing.length === 0) return (title, body) => void describe(title, body);
  const reason = `needs ${missing.join(', ')}: see test/setup.sh`;
  if (process.env['CI'] !== undefined && process.env['CI'] !== 'false') {
    return (title) =>
      void describe(title, () => {
        it(`can run here (${reason})`, () => {
          throw new Error(`under CI nothing may be left out, and this machine lacks ${missing.join(', ')}`);
        });
      });
  }
  return (title, body) => void describe.skip(`${title} (left out: ${reason})`, body);
}

function isThere(need: string): boolean {
  if (need === 'root') return process.getuid?.() === 0;
  return need.startsWith('/') ? isExecutable(need) : findProgram(need) !== undefined;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
