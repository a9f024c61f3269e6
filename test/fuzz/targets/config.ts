/**
 * Text that operators write: the YAML file, single settings, addresses, sizes; and docker's file with credentials.
 */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { systemClock } from '../../../src/util/clock.ts';
import {
  readAnnounced,
  readBootstrap,
  readPeer,
  readHostName,
} from '../../../src/config/cluster-addresses.ts';
import { loadConfig } from '../../../src/config/load.ts';
import { envName } from '../../../src/config/setting-names.ts';
import { SETTING_KEYS, settingOf } from '../../../src/config/settings.ts';
import { formatDuration, formatSize, parseDuration, parseSize } from '../../../src/config/units.ts';
import { parseBootstrap } from '../../../src/network/addresses.ts';
import { parseRegistryHost, parseRepository } from '../../../src/oci/repository.ts';
import { DockerConfig } from '../../../src/upstream/docker-config.ts';
import { formatAuthorization } from '../../../src/upstream/credential.ts';
import { isWeirError } from '../../../src/util/errors.ts';
import { TempDir } from '../../support/temp.ts';
import { pure, settledUnlessRefused, splitLine, unlessRefused, type Target } from '../harness/target.ts';
import { SECRET, YAML_LIMIT } from './samples.ts';

const KEYS = SETTING_KEYS.map((key) => key.split('.')[1] ?? '');

export const configFile = pure({
  name: 'config-file',
  share: 3,
  limit: YAML_LIMIT,
  seeds: [
    'mirror:\n  listen: [127.0.0.1:4770, "[::1]:4770"]\nstore:\n  quota: 20GiB\nlog:\n  level: debug\n',
    `registries:\n  quay.io:\n    mirrors: [https://a.example/v2/x]\n    username: me\n    password: ${SECRET}\n  "[::1]:5000":\n    plain-http: true\n    token: ${SECRET}\n`,
    `cluster:\n  bootstrap: a.example:4772\n  key-file: /etc/weir/key\nregistries:\n  a.b:\n    username: x\n    password-file: /there\n`,
    'a: &a [1, 2]\nb: [*a, *a]\nc: {<<: {d: 1}}\n---\n',
    '%YAML 1.2\n---\n!!map {mirror: !!str x}\n',
  ],
  words: [
    ...KEYS.map((key) => `  ${key}: `),
    'mirror:\n',
    'registries:\n',
    '  x.y:\n',
    `    password: ${SECRET}\n`,
    '&a ',
    '*a',
    '!!binary ',
    '<<: ',
    '? ',
    '|\n',
    '>-\n',
  ],
  run: async (input) => {
    const text = input.toString('utf8');
    const readFile = async (path: string): Promise<string | undefined> =>
      path === '/config' ? text : path === '/there' ? SECRET : undefined;
    try {
      await loadConfig({ env: {}, file: '/config', readFile });
    } catch (error) {
      if (!isWeirError(error, 'config_invalid')) throw error;
      assert.ok(!isSecretTold(error.message, text), 'a message shows a password');
    }
  },
});

/** A name that contains it is no secret: only values of one of these keys are. */
function isSecretTold(message: string, text: string): boolean {
  const occurrences = text.split(SECRET).length - 1;
  const secret = text.match(new RegExp(`^ *(?:password|token): ${SECRET}$`, 'gm'))?.length ?? 0;
  return occurrences === secret && message.includes(SECRET);
}

export const setting = pure({
  name: 'setting',
  limit: 1000, // a list of 65,000 items, all wrong
  seeds: SETTING_KEYS.map((key) => `${key}\n${settingOf(key).default}`),
  words: [
    '127.0.0.1:4770',
    ',',
    'auto',
    'none',
    'GiB',
    'ms',
    '1e3',
    'localhost:0',
    '[::]:1',
    '/dns4/a/tcp/1',
    '50MiB/s',
  ],
  run: async (input) => {
    const [key, rest] = splitLine(input);
    const known = SETTING_KEYS.find((each) => each === key);
    if (known === undefined) return;
    const load = (value: string) =>
      settledUnlessRefused(['config_invalid'], () =>
        loadConfig({ env: { [envName(known)]: value }, readFile: async () => undefined }),
      );
    const loaded = await load(rest.toString('utf8'));
    if (loaded === undefined) return;
    const value = loaded.config[known];
    const { format } = settingOf(known);
    const written = [format(value)].flat().join(',');
    const again = await load(written);
    // A path in a list may contain a comma, which cannot be written in a variable.
    if (again !== undefined && written !== '')
      assert.deepEqual([format(again.config[known])].flat(), [format(value)].flat());
  },
});

export const units = pure({
  name: 'units',
  seeds: ['20GiB', '1.5 MB', '4096', '10s', '1.5h', '90m', '1 day', '-5m', '1h30m', '9007199254740991B'],
  words: ['KiB', 'ms', '.', ' ', 'e', 'years', 'TiB', '00'],
  run: (input) => {
    const text = input.toString('utf8');
    const size = unlessRefused(['config_invalid'], () => parseSize(text));
    if (size !== undefined) assert.equal(parseSize(formatSize(size)), size);
    const duration = unlessRefused(['config_invalid'], () => parseDuration(text));
    if (duration === undefined) return;
    assert.ok(Number.isFinite(duration) && duration >= 0);
    if (duration < 1e12) assert.equal(parseDuration(formatDuration(duration)), duration);
  },
});

/** Errors are plain Errors, which the settings rephrase. */
function unlessWrong<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    if (error instanceof Error && error.constructor === Error) return undefined;
    throw error;
  }
}

export const bootstrap = pure({
  name: 'bootstrap',
  seeds: [
    'a.example:4772',
    '[fd00::1]:4772',
    '10.0.0.7:1',
    '/ip4/10.0.0.7/tcp/4772',
    '/dns4/a.example/tcp/4772/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp',
    '/ip6/::1/tcp/65535',
  ],
  words: ['/ip4/', '/ip6/', '/dns/', '/tcp/', '/p2p/', ':4772', '[::1]', '::ffff:1.2.3.4', '%eth0'],
  run: (input) => {
    const text = input.toString('utf8');
    const entry = unlessRefused(['config_invalid'], () => parseBootstrap(text));
    if (entry !== undefined) assert.ok(entry.port >= 1 && entry.port <= 65_535);
    const accepted = unlessWrong(() => readBootstrap(text));
    if (accepted !== undefined)
      assert.ok(entry, 'the configuration takes it, and then the node does not start');
    const announced = unlessWrong(() => readAnnounced(text));
    if (announced?.includes(':') === true && announced.startsWith('/')) parseBootstrap(announced);
    unlessWrong(() => readPeer(text));
    unlessWrong(() => readHostName(text));
  },
});

const AUTH = Buffer.from(`me:${SECRET}`).toString('base64');

export const dockerConfig: Target = {
  name: 'docker-config',
  share: 10,
  isPure: true,
  seeds: [
    JSON.stringify({
      auths: { 'quay.io': { auth: AUTH }, 'https://index.docker.io/v1/': { identitytoken: SECRET } },
    }),
    JSON.stringify({ auths: { 'quay.io/v2/': { username: 'me', password: SECRET } }, credHelpers: {} }),
    JSON.stringify({ auths: { 'http://quay.io': { registrytoken: SECRET } } }),
    JSON.stringify({ auths: { 'quay.io/team': { auth: AUTH }, 'quay.io/team/app': {} } }),
  ],
  words: [
    '"auths":',
    '"quay.io":',
    '"auth":',
    '"username":',
    '"password":',
    '"identitytoken":',
    '{',
    '},',
    '"__proto__":',
    AUTH,
  ],
  open: async (stack) => {
    const dir = stack.use(await TempDir.create('fuzz-docker'));
    const path = dir.join('config.json');
    return async (input) => {
      // A helper is a program of this machine.
      await writeFile(path, input.toString('latin1').replaceAll('cred', 'cRed'), 'latin1');
      const warnings: string[] = [];
      const config = new DockerConfig(path, systemClock, (message) => warnings.push(message));
      const credential = await config.credential(parseRepository(parseRegistryHost('quay.io'), 'team/app'));
      assert.ok(!warnings.join('\n').includes(SECRET), 'a warning shows a password');
      if (credential !== undefined && credential.kind !== 'identity') formatAuthorization(credential);
    };
  },
};
