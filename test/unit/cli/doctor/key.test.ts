import assert from 'node:assert/strict';
import { chmod, writeFile } from 'node:fs/promises';
import { clusterKey } from '../../../../src/cli/doctor/key.ts';
import type { Config } from '../../../../src/config/settings.ts';
import { TempDir } from '../../../support/temp.ts';
import { contextOf } from './fixture.ts';

const GOOD = 'pXk3b2N0b3ItdGVzdC1rZXktMDEyMzQ1Njc4OWFi';

describe('weir doctor: the cluster key', () => {
  let dir: TempDir;
  before(async () => (dir = await TempDir.create('doctor-key')));
  after(() => dir[Symbol.asyncDispose]());

  const check = (config: Partial<Config>) => clusterKey.run(contextOf({ config }));
  async function withKey(text: string, mode = 0o600) {
    const path = dir.join('key');
    await writeFile(path, text);
    await chmod(path, mode);
    return await check({ 'cluster.key-file': path });
  }

  it('is right if it is long, and root or its owner alone may read it', async () => {
    assert.deepEqual(await withKey(GOOD), { state: 'ok', found: dir.join('key') });
  });

  it('is wrong if others may read it, and the cure is a command', async () => {
    const { state, found, cure } = await withKey(GOOD, 0o644);
    assert.equal(state, 'wrong');
    assert.match(found, /open to other users of this machine \(mode 0644\)$/);
    assert.match(cure ?? '', /^chmod 600 \//);
  });

  it('is wrong if it could be guessed or is missing, and no part of it is told', async () => {
    const short = await withKey('shortsecret');
    assert.equal(short.state, 'wrong');
    assert.match(short.found, /shorter than 32 bytes/);
    assert.match(short.cure ?? '', /openssl rand -base64 32/);
    assert.ok(!JSON.stringify(short).includes('shortsecret'));
    const missing = await check({ 'cluster.key-file': dir.join('none') });
    assert.deepEqual([missing.state, /ENOENT/.test(missing.found)], ['wrong', true]);
  });

  it('is missed if others are named without it', async () => {
    assert.equal((await check({})).state, 'warning');
    const named = await check({ 'cluster.bootstrap': ['10.0.0.7:4772'] });
    assert.equal(named.state, 'wrong');
    assert.match(named.found, /although cluster\.bootstrap names others/);
    assert.equal((await check({ 'cluster.insecure-open': 'yes' })).state, 'warning');
    assert.equal((await check({ 'cluster.mode': 'off' })).state, 'skipped');
  });
});
