/** The files in which Docker, podman and their kin keep the credentials of a user's logins. */
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

type Variables = Readonly<Record<string, string | undefined>>;

/**
 * Those that exist, in the order in which they are asked: Docker's first, then podman's (containers-auth.json(5)). If
 * `REGISTRY_AUTH_FILE` names one, it alone: it may be there to keep the others out.
 */
export function userAuthFiles(env: Variables): readonly string[] {
  const named = env['REGISTRY_AUTH_FILE'];
  if (named) return [named];
  const home = env['HOME'] || homedir();
  const files = [join(env['DOCKER_CONFIG'] || join(home, '.docker'), 'config.json')];
  const folders = [env['XDG_RUNTIME_DIR'], env['XDG_CONFIG_HOME'] || join(home, '.config')];
  for (const folder of folders) if (folder) files.push(join(folder, 'containers', 'auth.json'));
  return files.filter((file) => existsSync(file));
}
