/**
 * An attacker that has seen one handshake can try keys on it offline; one that can read the key's file need not. So a node
 * refuses a key that can be guessed, and warns about files that others may read.
 */
import assert from 'node:assert/strict';
import { chmod, writeFile } from 'node:fs/promises';
import { SECOND } from '../../src/util/clock.ts';
import { run } from '../support/program.ts';
import { TempDir } from '../support/temp.ts';
import { WEIR, WeirNode } from '../support/weir.ts';

/** Milliseconds in which a node that refuses its configuration ends; a node that still runs has accepted it. */
const ENDS_WITHIN = 20 * SECOND;

describe('the secret of a cluster', () => {
  it('cannot be one that can be guessed: the node does not start with it', async () => {
    await using dir = await TempDir.create('weak-key');
    const file = dir.join('key');
    const own = [
      ['--data-dir', dir.join('data'), '--cluster-key-file', file, '--store-runtime-content', 'none'],
      ['mirror', 'admin', 'cluster', 'transfer'].flatMap((name) => [`--${name}-listen`, '127.0.0.1:0']),
    ].flat();
    for (const key of ['correct horse battery', '1234567890123456', 'password'.repeat(4)]) {
      await writeFile(file, `${key}\n`, { mode: 0o600 });
      const { code, stderr } = await run(WEIR, ['node', ...own], { timeout: ENDS_WITHIN });
      assert.equal(code, 2, `${key}: ${stderr}`);
      assert.match(stderr, /could be guessed.*openssl rand -base64 32/);
      assert.ok(!stderr.includes(key));
    }
  });

  it('and credentials of registries cause a warning if others may read their files', async () => {
    await using dir = await TempDir.create('open-files');
    const key = dir.join('key');
    const password = dir.join('password');
    const docker = dir.join('config.json');
    await writeFile(key, 'the key of a cluster that is under test');
    await writeFile(password, 'hunter2');
    await writeFile(docker, '{}');
    const open = async (mode: number): Promise<string> => {
      for (const file of [key, password, docker]) await chmod(file, mode);
      await using node = await WeirNode.start({
        settings: { 'cluster.key-file': key, 'upstream.docker-config': docker },
        registries: { 'registry.example': { username: 'puller', 'password-file': password } },
      });
      return node.log;
    };
    const log = await open(0o644);
    for (const file of [key, password, docker]) assert.ok(log.includes(`run: chmod 600 ${file}`), file);
    assert.doesNotMatch(log, /hunter2/);
    assert.doesNotMatch(await open(0o600), /holds a secret/);
  });
});
