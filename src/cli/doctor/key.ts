/** The cluster key: it can be read, has the right form, and is nobody else's to read. */
import { exposedFiles } from '../../config/secret-files.ts';
import { clusterMode, readClusterKeys } from '../../daemon/cluster-settings.ts';
import { errorMessage, systemCode } from '../../util/errors.ts';
import { AS_ROOT, isRoot, ok, skipped, warning, wrong, type Check } from './check.ts';

const MAKE_KEY =
  'make one with (umask 077; openssl rand -base64 32 > /etc/weir/cluster.key), copy it to every machine, and name it in ' +
  'cluster.key-file';

export const clusterKey: Check = {
  name: 'cluster key',
  run: async ({ loaded: { config } }) => {
    const path = config['cluster.key-file'];
    const mode = clusterMode(config);
    if (mode === 'off') return skipped('cluster.mode is off: the node is on its own');
    if (mode === 'open')
      return warning('none: anybody who reaches the ports can read what is cached', MAKE_KEY);
    if (mode === 'loopback') {
      const names = config['cluster.bootstrap'].length > 0;
      const found = 'none: the node shares with nodes of this machine alone';
      return names
        ? wrong(`${found}, although cluster.bootstrap names others`, MAKE_KEY)
        : warning(found, MAKE_KEY);
    }
    try {
      await readClusterKeys(path);
    } catch (error) {
      const cause = error instanceof Error ? error.cause : undefined;
      if (systemCode(cause) === 'EACCES' && !isRoot())
        return skipped(`${path} may not be read by this user`, AS_ROOT);
      const [problem = '', ...rest] = errorMessage(error).split('; ');
      return wrong(problem, rest.length > 0 ? rest.join('; ') : MAKE_KEY);
    }
    const [exposed] = await exposedFiles([path]);
    if (exposed === undefined) return ok(path);
    const [found = '', cure] = exposed.split('; run: ');
    return wrong(found, cure);
  },
};
