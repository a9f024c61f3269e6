import assert from 'node:assert/strict';
import { chmod, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { delimiter } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseRegistryHost, parseRepository } from '../../../src/oci/repository.ts';
import { DockerConfig } from '../../../src/upstream/docker-config.ts';
import { TempDir } from '../../support/temp.ts';

/** A helper that counts its runs in `<folder>/runs`, and prints the output of `body` for the server's name. */
async function helper(dir: TempDir, name: string, body: string): Promise<void> {
  const file = dir.join(`docker-credential-${name}`);
  await writeFile(file, `#!/bin/sh\nread -r server || true\necho x >> '${dir.join('runs')}'\n${body}\n`);
  await chmod(file, 0o755);
}

function ask(config: DockerConfig, host: string, name = 'team/app'): Promise<unknown> {
  return config.credential(parseRepository(parseRegistryHost(host), name));
}

describe('upstream: docker config', () => {
  let dir: TempDir;
  let warnings: string[];
  let now: number;
  const path = process.env['PATH'];

  beforeEach(async () => {
    dir = await TempDir.create('docker-config');
    warnings = [];
    now = 0;
    process.env['PATH'] = `${dir.path}${delimiter}${path}`;
  });
  afterEach(async () => {
    process.env['PATH'] = path;
    await dir[Symbol.asyncDispose]();
  });

  const write = (content: unknown): Promise<void> =>
    writeFile(dir.join('config.json'), typeof content === 'string' ? content : JSON.stringify(content));
  const open = (): DockerConfig =>
    new DockerConfig(dir.join('config.json'), { monotonic: () => now }, (message) => warnings.push(message));

  it('reads auths in all their forms', async () => {
    const auth = Buffer.from('ann:se:cret').toString('base64');
    await write({
      auths: {
        'https://index.docker.io/v1/': { auth },
        'ghcr.io': { username: 'bob', password: 'x' },
        'https://quay.io/v2/': { identitytoken: 'refresh' },
        'r.test:5000': { registrytoken: 'tok' },
        'empty.test': {},
      },
      HttpHeaders: { 'User-Agent': 'x' },
    });
    const config = open();
    const all = Promise.all(
      ['docker.io', 'ghcr.io', 'quay.io', 'r.test:5000', 'empty.test', 'other.test', 'r.test'].map((host) =>
        ask(config, host),
      ),
    );
    assert.deepEqual(await all, [
      { kind: 'basic', username: 'ann', password: 'se:cret' },
      { kind: 'basic', username: 'bob', password: 'x' },
      { kind: 'identity', token: 'refresh' },
      { kind: 'bearer', token: 'tok' },
      undefined,
      undefined,
      undefined,
    ]);
    assert.deepEqual(warnings, []);
  });

  it('prefers the key that is closest to the repository, as podman does', async () => {
    const keys = ['quay.io', 'quay.io/team', 'https://quay.io/team/app/', 'quay.io/team/app/deep'];
    const hub = ['docker.io/library/alpine', 'https://index.docker.io/v1/'];
    const entries = [...keys, ...hub, 'r.test/team'].map((key) => [key, { username: key, password: 'x' }]);
    await write({ auths: { ...Object.fromEntries(entries), 'quay.io/none': {} } });
    const config = open();
    for (const [host, name, key] of [
      ['quay.io', 'other/app', 'quay.io'],
      ['quay.io', 'team/other', 'quay.io/team'],
      ['quay.io', 'teams/other', 'quay.io'],
      ['quay.io', 'team/app', 'https://quay.io/team/app/'],
      ['quay.io', 'team/app/deep/er', 'quay.io/team/app/deep'],
      ['quay.io', 'team/application', 'quay.io/team'],
      ['docker.io', 'alpine', 'docker.io/library/alpine'],
      ['docker.io', 'library/busybox', 'https://index.docker.io/v1/'],
      ['r.test', 'team/app', 'r.test/team'],
    ] as const) {
      const wanted = { kind: 'basic', username: key, password: 'x' };
      assert.deepEqual(await ask(config, host, name), wanted, `${host}/${name}`);
    }
    for (const [host, name] of [
      ['quay.io', 'none/app'],
      ['r.test', 'other/app'],
    ] as const) {
      assert.equal(await ask(config, host, name), undefined, `${host}/${name}`);
      assert.ok(config.isWithout(parseRepository(parseRegistryHost(host), name)));
    }
    assert.ok(!config.isWithout(parseRepository(parseRegistryHost('r.test'), 'team/other')));
  });

  it('asks the helper of a registry first, and the store for all after the key of a path', async () => {
    await helper(dir, 'all', `echo '{"Username":"store","Secret":"x"}'`);
    await helper(dir, 'one', `echo '{"Username":"own","Secret":"x"}'`);
    const auths = {
      'ghcr.io': { username: 'ghcr.io', password: 'x' },
      'ghcr.io/team': { username: 'ghcr.io/team', password: 'x' },
      'quay.io/team': { username: 'quay.io/team', password: 'x' },
    };
    await write({ auths, credsStore: 'all', credHelpers: { 'quay.io': 'one' } });
    const config = open();
    for (const [host, name, username] of [
      ['ghcr.io', 'team/app', 'ghcr.io/team'],
      ['ghcr.io', 'other/app', 'store'],
      ['quay.io', 'team/app', 'own'],
    ] as const) {
      assert.deepEqual(await ask(config, host, name), { kind: 'basic', username, password: 'x' });
    }
  });

  it('reads the file again when it changes, and works without one', async () => {
    const config = open();
    assert.equal(await ask(config, 'ghcr.io'), undefined);
    assert.equal(await ask(config, 'ghcr.io'), undefined);
    assert.equal(warnings.length, 1, 'one warning for the same trouble');
    await write({ auths: { 'ghcr.io': { username: 'a', password: '1' } } });
    assert.deepEqual(await ask(config, 'ghcr.io'), { kind: 'basic', username: 'a', password: '1' });
    await write({ auths: { 'ghcr.io': { username: 'a', password: '2' } } });
    await utimes(dir.join('config.json'), 1, 1);
    assert.deepEqual(await ask(config, 'ghcr.io'), { kind: 'basic', username: 'a', password: '2' });
  });

  it('goes on with what it had while the file is broken, and without it when it is gone', async () => {
    await write({ auths: { 'ghcr.io': { username: 'a', password: '1' } } });
    const config = open();
    const known = { kind: 'basic', username: 'a', password: '1' };
    assert.deepEqual(await ask(config, 'ghcr.io'), known);
    for (const broken of ['{"auths": ', '{"auths": 1}']) {
      await write(broken);
      assert.deepEqual(await ask(config, 'ghcr.io'), known);
    }
    assert.equal(warnings.length, 2);
    await rm(dir.join('config.json'));
    assert.equal(await ask(config, 'ghcr.io'), undefined);
  });

  it('never quotes a broken file, which may contain passwords', async () => {
    await write('{"auths": secret');
    assert.equal(await ask(open(), 'ghcr.io'), undefined);
    assert.equal(warnings.length, 1);
    assert.ok(!warnings[0]?.includes('secret'));
  });

  it('asks helpers, by registry and for all, and keeps their answers for 5 min', async () => {
    await helper(dir, 'all', `echo "{\\"Username\\":\\"u\\",\\"Secret\\":\\"for $server\\"}"`);
    await helper(dir, 'one', `echo '{"Username":"<token>","Secret":"refresh"}'`);
    await write({ credsStore: 'all', credHelpers: { 'ghcr.io': 'one' } });
    const config = open();
    const hub = { kind: 'basic', username: 'u', password: 'for https://index.docker.io/v1/' };
    const both = await Promise.all([ask(config, 'docker.io'), ask(config, 'docker.io')]);
    assert.deepEqual(both, [hub, hub]);
    assert.deepEqual(await ask(config, 'ghcr.io'), { kind: 'identity', token: 'refresh' });
    const runs = async (): Promise<number> => (await readFile(dir.join('runs'), 'utf8')).length / 2;
    assert.equal(await runs(), 2);
    now = 4 * 60_000;
    await ask(config, 'docker.io');
    assert.equal(await runs(), 2);
    now = 5 * 60_000;
    await ask(config, 'docker.io');
    assert.equal(await runs(), 3);
  });

  it('runs four helpers at a time, first those for registries in the file', async () => {
    // Each logs its start and end, and ends when it is told to.
    const [log, go] = [dir.join('log'), dir.join('go')];
    const wait = `until test -e '${go}'; do sleep 0.05; done`;
    await helper(
      dir,
      'slow',
      `echo "begin $server" >> '${log}'; ${wait}; echo "end $server" >> '${log}'; exit 1`,
    );
    await write({ credsStore: 'slow', auths: { 'known.test': {} } });
    const config = open();
    const made = Array.from({ length: 12 }, (_, i) => `made-up-${i}.test`);
    const asked = made.map((host) => ask(config, host));
    const lines = async (): Promise<readonly string[]> =>
      (await readFile(log, 'utf8').catch(() => '')).split('\n').filter((line) => line !== '');
    while ((await lines()).length < 4) await delay(20);
    asked.push(ask(config, 'known.test'));
    await writeFile(go, '');
    await Promise.all(asked);
    let [running, most] = [0, 0];
    for (const line of await lines()) {
      running += line.startsWith('begin') ? 1 : -1;
      most = Math.max(most, running);
    }
    assert.equal(most, 4);
    const begun = (await lines()).filter((line) => line.startsWith('begin'));
    assert.equal(begun.length, 13);
    assert.ok(begun.slice(0, 8).includes('begin known.test'), begun.join(', '));
  });

  it('goes on without a failing helper, and reports it without its output', async () => {
    await helper(dir, 'none', 'echo "credentials not found in native keychain"; exit 1');
    await helper(dir, 'broken', 'echo "secret"; exit 3');
    await helper(dir, 'chatty', 'echo "secret"');
    await helper(dir, 'flood', 'head -c 200000 /dev/zero');
    const credHelpers = {
      'none.test': 'none',
      'broken.test': 'broken',
      'chatty.test': 'chatty',
      'flood.test': 'flood',
      'missing.test': 'missing',
      'evil.test': '../../bin/sh',
    };
    await write({ credHelpers, auths: { 'broken.test': { username: 'a', password: 'b' } } });
    const config = open();
    for (const host of Object.keys(credHelpers)) {
      const expected = host === 'broken.test' ? { kind: 'basic', username: 'a', password: 'b' } : undefined;
      assert.deepEqual(await ask(config, host), expected, host);
    }
    assert.equal(warnings.length, 5);
    assert.ok(warnings.every((message) => !message.includes('secret')));
  });
});
