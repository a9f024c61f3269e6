import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { userAuthFiles } from '../../../../src/cli/client/auth-files.ts';
import { runCli } from '../../../../src/cli/program.ts';
import { seededBytes } from '../../../support/bytes.ts';
import { basic } from '../../../support/client.ts';
import { MirrorFixture } from '../../../support/mirror-fixture.ts';
import { TempDir } from '../../../support/temp.ts';

type Env = Readonly<Record<string, string>>;

describe("the credentials of a user's logins", () => {
  let dir: TempDir;
  let env: Env;
  beforeEach(async () => {
    dir = await TempDir.create('auth-files');
    env = { HOME: dir.path, XDG_RUNTIME_DIR: dir.join('run') };
  });
  afterEach(() => dir[Symbol.asyncDispose]());

  const write = async (name: string, auths: object = {}): Promise<string> => {
    const file = dir.join(name);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, JSON.stringify({ auths }));
    return file;
  };

  it("are in Docker's file, then in podman's", async () => {
    assert.deepEqual(userAuthFiles(env), []);
    const config = await write('.config/containers/auth.json');
    const run = await write('run/containers/auth.json');
    const docker = await write('.docker/config.json');
    assert.deepEqual(userAuthFiles(env), [docker, run, config]);
    const other = await write('other/config.json');
    const xdg = await write('xdg/containers/auth.json');
    const moved = { ...env, DOCKER_CONFIG: dir.join('other'), XDG_CONFIG_HOME: dir.join('xdg') };
    assert.deepEqual(userAuthFiles(moved), [other, run, xdg]);
    assert.deepEqual(userAuthFiles({ ...env, REGISTRY_AUTH_FILE: '/gone' }), ['/gone']);
  });

  describe('weir pull', () => {
    const NAME = 'team/app';
    let mirror: MirrorFixture;
    beforeEach(async () => {
      mirror = await MirrorFixture.start();
      mirror.registry.addImage(NAME, 'v1', seededBytes(1000));
      mirror.registry.repository(NAME).authorization = basic('ann', 'secret')['authorization'] ?? '';
    });
    afterEach(() => mirror[Symbol.asyncDispose]());

    const ann = { username: 'ann', password: 'secret' };
    const bob = { username: 'bob', password: 'secret' };
    const pull = async (flags: readonly string[], more: Env = {}): Promise<{ code: number; err: string }> => {
      const [stdout, stderr] = [new PassThrough().resume(), new PassThrough()];
      const args = ['pull', '--mirror', mirror.url, ...flags, `${mirror.registry.host}/${NAME}:v1`];
      const code = await runCli(args, { version: '1', env: { ...env, ...more }, stdout, stderr });
      stderr.end();
      return { code, err: await text(stderr) };
    };

    it('takes the first file that has one for the image, through a node too', async () => {
      const { host } = mirror.registry;
      assert.equal((await pull([])).code, 1);
      await write('.docker/config.json', { 'elsewhere.test': bob, [`${host}/other`]: bob });
      await write('run/containers/auth.json', { [host]: bob, [`${host}/team`]: ann });
      assert.deepEqual(await pull([]), { code: 0, err: '' });
      await write('.docker/config.json', { [host]: bob });
      assert.equal((await pull([])).code, 1);
    });

    it('takes --authfile, else REGISTRY_AUTH_FILE, before them', async () => {
      const { host } = mirror.registry;
      await write('.docker/config.json', { [host]: bob });
      const right = await write('right.json', { [`${host}/${NAME}`]: ann });
      const wrong = await write('wrong.json', { [host]: bob });
      assert.equal((await pull([], { REGISTRY_AUTH_FILE: right })).code, 0);
      assert.equal((await pull(['--authfile', right], { REGISTRY_AUTH_FILE: wrong })).code, 0);
      assert.equal((await pull(['--authfile', wrong], { REGISTRY_AUTH_FILE: right })).code, 1);
      const gone = await pull(['--authfile', dir.join('gone.json')]);
      assert.equal(gone.code, 2);
      assert.match(gone.err, /^weir: --authfile: there is no file ".*gone\.json"\n$/);
    });
  });
});
