import assert from 'node:assert/strict';
import { setImmediate as nextTurn } from 'node:timers/promises';
import * as fc from 'fast-check';
import { defaultConfig, loadConfig, type LoadedConfig } from '../../../src/config/load.ts';
import { DEFAULT_CONFIG_FILE, envName, flagName } from '../../../src/config/setting-names.ts';
import { SETTING_KEYS, type SettingKey } from '../../../src/config/settings.ts';
import { isWeirError } from '../../../src/util/errors.ts';

interface Sources {
  readonly flags?: Partial<Record<SettingKey, string>>;
  readonly env?: Record<string, string>;
  readonly yaml?: string;
  readonly files?: Record<string, string>;
  readonly file?: string;
}

function load({ flags = {}, env = {}, yaml, files = {}, file }: Sources): Promise<LoadedConfig> {
  const all: Record<string, string> = {
    ...files,
    ...(yaml === undefined ? {} : { [DEFAULT_CONFIG_FILE]: yaml }),
  };
  return loadConfig({ flags, env, file, readFile: async (path) => all[path] });
}

/** The lines of the error message. */
async function problemsOf(sources: Sources): Promise<readonly string[]> {
  try {
    await load(sources);
  } catch (error) {
    if (isWeirError(error, 'config_invalid')) return error.message.split('\n');
    throw error;
  }
  return assert.fail('no error');
}

describe('loadConfig', () => {
  it('has a default for every setting', async () => {
    const { config, origins, warnings, file } = await load({});
    assert.deepEqual(config, defaultConfig());
    assert.deepEqual(new Set(Object.values(origins)), new Set(['default']));
    assert.deepEqual(warnings, []);
    assert.equal(file, undefined);
    assert.deepEqual(config['mirror.listen'], [
      { host: '127.0.0.1', port: 4770 },
      { host: '::1', port: 4770 },
    ]);
    assert.equal(config['mirror.first-byte-timeout'], 3000);
    assert.equal(config['store.quota'], 'auto');
  });

  it('has unique names of flags and variables', () => {
    assert.equal(new Set(SETTING_KEYS.map(flagName)).size, SETTING_KEYS.length);
    assert.equal(new Set(SETTING_KEYS.map(envName)).size, SETTING_KEYS.length);
  });

  it('property: flags win over environment, environment over the file, the file over defaults', async () => {
    const value = fc.option(fc.integer({ min: 1, max: 4096 }), { nil: undefined });
    await fc.assert(
      fc.asyncProperty(value, value, value, async (flag, variable, line) => {
        const { config, origins } = await load({
          flags: flag === undefined ? {} : { 'pull.max-concurrent': String(flag) },
          env: variable === undefined ? {} : { WEIR_PULL_MAX_CONCURRENT: String(variable) },
          yaml: line === undefined ? '' : `pull:\n  max-concurrent: ${line}\n`,
        });
        assert.equal(config['pull.max-concurrent'], flag ?? variable ?? line ?? 64);
        const origin = origins['pull.max-concurrent'];
        if (flag !== undefined) assert.equal(origin, 'flag --pull-max-concurrent');
        else if (variable !== undefined) assert.equal(origin, 'environment WEIR_PULL_MAX_CONCURRENT');
        else if (line !== undefined) assert.equal(origin, `file ${DEFAULT_CONFIG_FILE}:2`);
        else assert.equal(origin, 'default');
      }),
    );
  });

  it('treats an empty variable as not set, but not an empty flag', async () => {
    const { config } = await load({ env: { WEIR_TAGS_TTL: '', WEIR_UPSTREAM_CA_FILE: '' } });
    assert.equal(config['tags.ttl'], 5000);
    assert.equal(config['upstream.ca-file'], '');
    const [problem] = await problemsOf({ flags: { 'tags.ttl': '' } });
    assert.match(problem ?? '', /^tags\.ttl: "" is no duration; allowed: a duration .* \(flag --tags-ttl\)$/);
  });

  it('reads lists, sizes, words and paths', async () => {
    const { config } = await load({
      yaml: [
        'mirror: {listen: ["0.0.0.0:80", "[fd00::1]:0"], default-registry: "Registry.example:5000"}',
        'store: {quota: 20GiB, runtime-content: [/a, /b]}',
        'access: {mode: open}',
      ].join('\n'),
      flags: { 'data.dir': 'relative' },
    });
    assert.deepEqual(config['mirror.listen'], [
      { host: '0.0.0.0', port: 80 },
      { host: 'fd00::1', port: 0 },
    ]);
    assert.equal(config['mirror.default-registry'], 'registry.example:5000');
    assert.equal(config['store.quota'], 20 * 1024 ** 3);
    assert.deepEqual(config['store.runtime-content'], ['/a', '/b']);
    assert.equal(config['access.mode'], 'open');
    assert.equal(config['data.dir'], `${process.cwd()}/relative`);
  });

  it('reports all problems at once: key, value, allowed values, source', async () => {
    const problems = await problemsOf({
      flags: { 'mirror.listen': ':4770', 'pull.max-concurrent': '0' },
      env: { WEIR_LOG_LEVEL: 'loud' },
      yaml: 'store:\n  quota: 20G\ntags:\n  ttl: 5\n',
    });
    assert.deepEqual(problems, [
      'mirror.listen: ":4770" names every interface; write 0.0.0.0:4770 or [::]:4770 if that is wanted; ' +
        'allowed: IP:PORT, [IPv6]:PORT or localhost:PORT (a comma between two); port 0 takes any free one (flag --mirror-listen)',
      'tags.ttl: 5 has no unit: write 5s or 5ms; allowed: a duration of 0s to 24d, such as 500ms, 10s, 5m or 24h ' +
        `(file ${DEFAULT_CONFIG_FILE}:4)`,
      'store.quota: "20G" is ambiguous: write GB for powers of 1000 or GiB for powers of 1024; ' +
        `allowed: auto, or a size of at least 1MiB, such as 512MiB, 20GiB or 100GB (file ${DEFAULT_CONFIG_FILE}:2)`,
      'pull.max-concurrent: "0" is less than 1; allowed: a whole number from 1 to 4096 (flag --pull-max-concurrent)',
      'log.level: "loud" is not allowed; allowed: trace, debug, info, warn, error, silent (environment WEIR_LOG_LEVEL)',
    ]);
  });

  it('does not check an overridden value', async () => {
    const { config } = await load({ flags: { 'tags.ttl': '1s' }, env: { WEIR_TAGS_TTL: 'nonsense' } });
    assert.equal(config['tags.ttl'], 1000);
  });

  it('property: any value of any source loads or fails with config_invalid', async () => {
    const anything = fc.oneof(
      fc.string(),
      fc.jsonValue().map((value) => JSON.stringify(value)),
    );
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...SETTING_KEYS), anything, async (key, value) => {
        const [section, name] = key.split('.');
        const yaml = `${section}: {${name}: ${value}}`;
        for (const sources of [{ flags: { [key]: value } }, { yaml }]) {
          await load(sources).catch((error: unknown) => assert.ok(isWeirError(error, 'config_invalid')));
        }
      }),
    );
  });

  it('accepts host names without a port only, and says so', async () => {
    const hosts = 'weir.example,10.0.0.7,[fd00::7]';
    const { config } = await load({ flags: { 'mirror.hosts': hosts }, yaml: 'admin: {hosts: [a, b.c.]}' });
    assert.deepEqual(config['mirror.hosts'], ['weir.example', '10.0.0.7', 'fd00::7']);
    assert.deepEqual(config['admin.hosts'], ['a', 'b.c.']);
    const wrong = await problemsOf({ flags: { 'mirror.hosts': 'a:4770', 'admin.hosts': 'http://a' } });
    assert.match(wrong[0] ?? '', /^mirror\.hosts: "a:4770" has a port; write it without/);
    assert.match(wrong[1] ?? '', /^admin\.hosts: "http:\/\/a" is no name and no IP address/);
  });

  it('refuses two listeners on one address', async () => {
    assert.deepEqual(await problemsOf({ flags: { 'admin.listen': '127.0.0.1:4770' } }), [
      'admin.listen: 127.0.0.1:4770 is taken by mirror.listen already; allowed: another port',
    ]);
  });

  it('allows port 0 several times', async () => {
    const flags = { 'admin.listen': '127.0.0.1:0', 'mirror.listen': '127.0.0.1:0,127.0.0.1:0' };
    await assert.doesNotReject(load({ flags }));
  });

  it('refuses durations above a timer of Node.js, which would fire at once', async () => {
    const [problem] = await problemsOf({ flags: { 'access.offline-ttl': '25d' } });
    assert.match(problem ?? '', /is more than 24d/);
  });

  it('reads shares of the disk, the smaller one as the one below which nothing is stored', async () => {
    const { config } = await load({ yaml: 'store: {shrink-below: 30%, stop-below: 0%}' });
    assert.deepEqual([config['store.shrink-below'], config['store.stop-below']], [30, 0]);
    for (const wrong of ['20', '0.2', '20.5%', '91%', '-1%', '%']) {
      const problems = await problemsOf({ flags: { 'store.shrink-below': wrong } });
      assert.match(
        problems.join('\n'),
        /^store\.shrink-below: .*; allowed: a whole number of per cent/,
        wrong,
      );
    }
    assert.deepEqual(await problemsOf({ flags: { 'store.shrink-below': '10%' } }), [
      'store.stop-below: 15% is more than the 10% of store.shrink-below; allowed: at most that, so that the store shrinks first (default)',
    ]);
  });
});

const at = (line: number): string => `(file ${DEFAULT_CONFIG_FILE}:${line})`;

describe('loadConfig: the configuration file', () => {
  it('is that of --config, then that of WEIR_CONFIG, then the default', async () => {
    const files = {
      '/a': 'tags: {ttl: 1s}',
      '/b': 'tags: {ttl: 2s}',
      [DEFAULT_CONFIG_FILE]: 'tags: {ttl: 3s}',
    };
    const ttl = async (sources: Sources): Promise<number> =>
      (await load({ ...sources, files })).config['tags.ttl'];
    assert.equal(await ttl({ file: '/a', env: { WEIR_CONFIG: '/b' } }), 1000);
    assert.equal(await ttl({ env: { WEIR_CONFIG: '/b' } }), 2000);
    assert.equal(await ttl({}), 3000);
  });

  it('must exist if it is named', async () => {
    assert.deepEqual(await problemsOf({ file: '/none' }), [
      '/none: no such configuration file (flag --config)',
    ]);
    assert.deepEqual(await problemsOf({ env: { WEIR_CONFIG: '/none' } }), [
      '/none: no such configuration file (environment WEIR_CONFIG)',
    ]);
  });

  it('may be empty or have empty sections', async () => {
    assert.deepEqual((await load({ yaml: '' })).config, defaultConfig());
    assert.deepEqual((await load({ yaml: 'mirror:\nstore: {}\nregistries:\n' })).config, defaultConfig());
  });

  it('refuses unknown settings, and suggests the nearest one', async () => {
    assert.deepEqual(
      await problemsOf({ yaml: 'miror: {listen: x}\nmirror:\n  listn: y\nfoo: 1\nmirror.listen: z' }),
      [
        `miror.listen: no such setting; did you mean mirror.listen? ${at(1)}`,
        `mirror.listn: no such setting; did you mean mirror.listen? ${at(3)}`,
        `foo: is no section ${at(4)}`,
        `mirror.listen: write it as a section, "mirror:" and below it "listen:" ${at(5)}`,
      ],
    );
    assert.match(
      (await problemsOf({ yaml: 'mirror: {listen: }' }))[0] ?? '',
      /^mirror\.listen: has no value/,
    );
  });

  it('refuses content that is no mapping', async () => {
    assert.match((await problemsOf({ yaml: '- a' }))[0] ?? '', /sections such as "mirror:" are expected/);
    assert.match((await problemsOf({ yaml: 'just text' }))[0] ?? '', /sections such as/);
  });

  it('reports the line of broken YAML without quoting it, as it may hold a password', async () => {
    for (const yaml of [
      'tags: {ttl: 1s}\nregistries: {a: {password: hunter2: x}',
      'a:\n  password: "hunter2\n b: 1',
      'registries:\n  ? {a: {password: hunter2}}\n  : b',
      'registries: {{password: hunter2}}',
    ]) {
      const problems = await problemsOf({ yaml });
      assert.match(problems[0] ?? '', new RegExp(`^file ${DEFAULT_CONFIG_FILE}:\\d+: no valid YAML: \\S`));
      assert.ok(!problems.join('\n').includes('hunter2'));
    }
  });

  it('suppresses a warning of the library that would quote a key that is no text', async () => {
    const warnings: Error[] = [];
    const onWarning = (warning: Error): unknown => warnings.push(warning);
    process.on('warning', onWarning);
    await problemsOf({ yaml: 'registries:\n  ? {a: {password: hunter2}}\n  : b' });
    await nextTurn(); // warnings come in the next turn
    process.off('warning', onWarning);
    assert.deepEqual(warnings, []);
  });

  it('refuses many aliases ("billion laughs")', async () => {
    const levels = Array.from({ length: 9 }, (_, level) => {
      const reference = level === 0 ? '"lol"' : `*a${level - 1}`;
      return `a${level}: &a${level} [${Array.from({ length: 9 }, () => reference).join(',')}]`;
    });
    assert.match((await problemsOf({ yaml: levels.join('\n') }))[0] ?? '', /no usable YAML: .*alias/i);
  });

  it('refuses a nesting so deep that the parser runs out of stack', async () => {
    for (const yaml of ['- '.repeat(20_000), '['.repeat(20_000), '{a: '.repeat(20_000)]) {
      const [problem = '', ...more] = await problemsOf({ yaml });
      // Either message may come: the parser catches some of its own failures, depending on where the stack ends.
      assert.match(problem, /no (?:usable|valid) YAML: \S/);
      assert.ok(more.length < 20, `${more.length} more`);
    }
  });

  it('reports the first errors of many', async () => {
    const problems = await problemsOf({ yaml: 'a:\n a:\n'.repeat(1000) });
    assert.equal(problems.length, 20);
  });
});

describe('loadConfig: environment variables', () => {
  it('warns of an unknown variable', async () => {
    const { warnings } = await load({ env: { WEIR_MIROR_LISTEN: 'x', OTHER: 'y' } });
    assert.deepEqual(warnings, [
      'environment WEIR_MIROR_LISTEN: no such setting; did you mean WEIR_MIRROR_LISTEN?',
    ]);
  });

  it('ignores variables that Kubernetes makes for Services named weir and weir-admin', async () => {
    const { warnings } = await load({
      env: {
        WEIR_SERVICE_HOST: '10.0.0.1',
        WEIR_SERVICE_PORT: '4770',
        WEIR_SERVICE_PORT_MIRROR: '4770',
        WEIR_PORT: 'tcp://10.0.0.1:4770',
        WEIR_PORT_4770_TCP: 'tcp://10.0.0.1:4770',
        WEIR_PORT_4770_TCP_PROTO: 'tcp',
        WEIR_PORT_4770_TCP_PORT: '4770',
        WEIR_PORT_4770_TCP_ADDR: '10.0.0.1',
        WEIR_ADMIN_SERVICE_HOST: '10.0.0.2',
        WEIR_ADMIN_PORT_4771_TCP_ADDR: '10.0.0.2',
      },
    });
    assert.deepEqual(warnings, []);
  });
});
