import assert from 'node:assert/strict';
import { loadConfig, type LoadedConfig } from '../../../src/config/load.ts';
import { configAsJson, configAsTable, configAsYaml, presentConfig } from '../../../src/config/present.ts';
import type { RegistryHost } from '../../../src/oci/repository.ts';
import { isWeirError } from '../../../src/util/errors.ts';

const FILE = '/etc/weir/config.yaml';

function load(yaml: string, files: Record<string, string> = {}): Promise<LoadedConfig> {
  return loadConfig({ env: {}, readFile: async (path) => ({ ...files, [FILE]: yaml })[path] });
}

async function problemsOf(yaml: string, files: Record<string, string> = {}): Promise<string> {
  try {
    await load(yaml, files);
  } catch (error) {
    if (isWeirError(error, 'config_invalid')) return error.message;
    throw error;
  }
  return assert.fail('no error');
}

const FULL = `
registries:
  index.docker.io:
    mirrors: [https://mirror.example/hub]
  Registry.example:5000:
    endpoint: https://10.0.0.1:5000
    ca-file: /ca.pem
    username: weir
    password-file: /secret
  "[fd00::1]:5000":
    plain-http: true
    token: t0ken
  other.example: {skip-verify: true, plain-redirects: true, username: a, password: "0123"}
`;

describe('loadConfig: registries', () => {
  it('are read by their canonical names', async () => {
    const { config, origins } = await load(FULL, { '/secret': 's3cret\n' });
    const { registries } = config;
    assert.deepEqual(
      [...registries.keys()],
      ['docker.io', 'registry.example:5000', '[fd00::1]:5000', 'other.example'],
    );
    const own = registries.get('registry.example:5000' as RegistryHost);
    assert.equal(own?.endpoint?.href, 'https://10.0.0.1:5000/');
    assert.deepEqual(own?.caFiles, ['/ca.pem']);
    assert.deepEqual(own?.credential, { kind: 'basic', username: 'weir', password: 's3cret' });
    assert.deepEqual(registries.get('[fd00::1]:5000' as RegistryHost)?.credential, {
      kind: 'bearer',
      token: 't0ken',
    });
    assert.equal(registries.get('[fd00::1]:5000' as RegistryHost)?.plainHttp, true);
    assert.equal(registries.get('other.example' as RegistryHost)?.skipVerify, true);
    assert.equal(registries.get('other.example' as RegistryHost)?.plainRedirects, true);
    assert.equal(
      registries.get('docker.io' as RegistryHost)?.mirrors?.[0]?.href,
      'https://mirror.example/hub',
    );
    assert.match(origins.registries, /^file \/etc\/weir\/config\.yaml:\d+$/);
  });

  it('never show a password or token', async () => {
    const settings = presentConfig(await load(FULL, { '/secret': 's3cret\n' }));
    for (const text of [configAsTable(settings), configAsJson(settings), await configAsYaml(settings)]) {
      assert.ok(text.includes('***'));
      for (const secret of ['s3cret', 't0ken', '0123']) assert.ok(!text.includes(secret), secret);
    }
  });

  it('are refused with all their problems', async () => {
    const problems = await problemsOf(
      `registries:
  a.io: {usernam: x, mirrors: ["ftp://m/"], token: 5}
  x y: {}
  b.io: {username: x}
  c.io: {password: x}
  d.io: {token: x, username: y}
  e.io: {username: x, password: y, password-file: /z}
  f.io: {username: x, password-file: /none}
  g.io: {username: x, password-file: /empty}
  h.io: {endpoint: "https://user:hunter2@h/"}
  docker.io: {}
  registry-1.docker.io: {}
  i.io: {password: [hunter2], username: x}
`,
      { '/empty': '\n' },
    );
    for (const expected of [
      `registries.a.io.usernam: no such setting; did you mean username? (file ${FILE}:2)`,
      'registries.a.io.mirrors.0: "ftp://m/" is no http or https URL',
      'registries.a.io.token: is no text (put it in quotes)',
      'registries.x y: is no registry',
      'registries.b.io: has a username but neither password nor password-file',
      'registries.c.io: has a password but no username',
      'registries.d.io: has a token and a name or password',
      'registries.e.io: has both password and password-file',
      'registries.f.io: password-file /none: no such file',
      'registries.g.io: password-file /empty: is empty',
      'registries.h.io.endpoint: holds a credential',
      'registries.registry-1.docker.io: docker.io is configured twice',
      'registries.i.io.password: is no text',
    ]) {
      assert.ok(problems.includes(expected), `${expected}\nnot in\n${problems}`);
    }
    assert.ok(!problems.includes('hunter2'));
  });

  it('must be a section', async () => {
    assert.match(await problemsOf('registries: [a]'), /registries: is no section of registries/);
    assert.match(await problemsOf('registries: {a.io: 5}'), /registries\.a\.io: is no section/);
  });
});

describe('present: the effective configuration', () => {
  it('as YAML is a file that gives the same configuration', async () => {
    const first = await load('mirror: {listen: ["127.0.0.1:1"]}\nstore: {quota: 3GiB}\ntags: {ttl: 90s}');
    const again = await load(await configAsYaml(presentConfig(first)));
    assert.deepEqual(again.config, first.config);
  });

  it('has the origin of each value', async () => {
    const settings = presentConfig(await load('tags:\n  ttl: 90s'));
    const json = JSON.parse(configAsJson(settings)) as Record<string, unknown>;
    assert.deepEqual(json['tags.ttl'], { value: '90s', origin: `file ${FILE}:2` });
    assert.match(configAsTable(settings), /^tags\.ttl +90s +file \/etc\/weir\/config\.yaml:2$/m);
  });
});
