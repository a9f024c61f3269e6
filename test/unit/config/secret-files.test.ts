/** Warnings of files with a secret that other users can read. */
import assert from 'node:assert/strict';
import { chmod, chown, mkdir, symlink, writeFile } from 'node:fs/promises';
import { loadConfig } from '../../../src/config/load.ts';
import { exposedFiles } from '../../../src/config/secret-files.ts';
import { requires } from '../../support/requires.ts';
import { TempDir } from '../../support/temp.ts';

async function told(mode: number, owner?: readonly [uid: number, gid: number]): Promise<string> {
  await using dir = await TempDir.create('secret');
  const path = dir.join('key');
  await writeFile(path, 'secret');
  await chmod(path, mode);
  if (owner !== undefined) await chown(path, ...owner);
  return (await exposedFiles([path])).join('\n').replaceAll(path, 'KEY');
}

describe('exposedFiles: files with secrets', () => {
  it('cause a warning with a command if others may read or change them', async () => {
    for (const mode of [0o644, 0o604, 0o602, 0o666, 0o620]) {
      const bits = mode.toString(8);
      const line = `KEY holds a secret and is open to other users of this machine (mode 0${bits}); run: chmod 600 KEY`;
      assert.equal(await told(mode), line);
    }
  });

  it('cause no warning if only the owner may read them', async () => {
    for (const mode of [0o600, 0o400, 0o700]) assert.equal(await told(mode), '');
  });

  it('cause no warning if they are missing, as their reader reports that', async () => {
    assert.deepEqual(await exposedFiles(['/nowhere/at-all']), []);
  });

  it('cause no warning in a volume of the kubelet, which sets the modes', async () => {
    await using dir = await TempDir.create('volume');
    await mkdir(dir.join('..2026_01_31_12_00_00.123456'));
    await writeFile(dir.join('..2026_01_31_12_00_00.123456/key'), 'secret', { mode: 0o644 });
    await symlink('..2026_01_31_12_00_00.123456', dir.join('..data'));
    await symlink('..data/key', dir.join('key'));
    assert.deepEqual(await exposedFiles([dir.join('key')]), []);
  });
});

requires('root')('files with secrets, of others', () => {
  it('may be readable by a group if root owns them, as a service gets them so', async () => {
    assert.equal(await told(0o640, [0, 1234]), '');
    assert.match(await told(0o660, [0, 1234]), /chmod 600 KEY/);
    assert.match(await told(0o640, [1234, 1234]), /chmod 600 KEY/);
  });
});

describe('secretFiles of a configuration', () => {
  const load = async (yaml: string): Promise<readonly string[]> => {
    const files: Readonly<Record<string, string>> = { '/own.yaml': yaml, '/password': 'x' };
    const loaded = await loadConfig({ env: {}, file: '/own.yaml', readFile: async (path) => files[path] });
    return loaded.secretFiles;
  };

  it('are those with the key, credentials or passwords, and the file itself if it holds passwords', async () => {
    const named = `
cluster: { key-file: /key }
upstream: { docker-config: /config.json }
registries:
  a.example: { username: a, password-file: /password }
  b.example: { username: b, password-file: /password }
`;
    assert.deepEqual(await load(named), ['/key', '/config.json', '/password']);
    assert.deepEqual(await load('registries: { a.example: { username: a, password: b } }'), ['/own.yaml']);
    assert.deepEqual(await load('registries: { a.example: { token: b } }'), ['/own.yaml']);
    assert.deepEqual(await load('registries: { a.example: { plain-http: true } }'), []);
    assert.deepEqual(await load('registries:'), []);
  });
});
