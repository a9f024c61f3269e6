import assert from 'node:assert/strict';
import { readdir, stat, writeFile } from 'node:fs/promises';
import { isWeirError } from '../../../src/errors.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { Catalog } from '../../../src/store/catalog.ts';
import { TempDir } from '../../support/temp.ts';
import { run } from '../../support/program.ts';

const digest = digestOf(Buffer.from('content'));

describe('Catalog', () => {
  it('remembers across restarts', async () => {
    await using temp = await TempDir.create('catalog');
    const path = temp.join('catalog.db');
    let key: Uint8Array;
    {
      using catalog = Catalog.open(path);
      key = catalog.key('callers');
      catalog.setMediaType(digest, 'a/b', 1);
      catalog.setTag('r/n', 'v1', 'accept', { digest, mediaType: 'a/b', size: undefined, at: 2 });
      catalog.addMember('r', 'n', digest, 3);
      catalog.setGrant('r/n', 'caller', 4);
      catalog.setChallenge('r/n', 'Basic realm="x"', 5);
    }
    using catalog = Catalog.open(path);
    assert.deepEqual(catalog.key('callers'), key);
    assert.equal(catalog.mediaType(digest), 'a/b');
    catalog.setTag('r/n', 'v1', 'other', { digest, mediaType: 'c/d', size: 7, at: 9 });
    assert.deepEqual(catalog.tags('r/n', 'v1'), [
      { accept: 'other', digest, mediaType: 'c/d', size: 7, at: 9 },
      { accept: 'accept', digest, mediaType: 'a/b', size: undefined, at: 2 },
    ]);
    assert.equal(catalog.isMember('r', 'n', digest), true);
    assert.equal(catalog.isMember('r', 'm', digest), false);
    assert.equal(catalog.isKnownTo('r', digest), true);
    assert.equal(catalog.isKnownTo('q', digest), false);
    assert.equal(catalog.grantedAt('r/n', 'caller'), 4);
    assert.equal(catalog.challenge('r/n'), 'Basic realm="x"');
    catalog.deleteTag('r/n', 'v1');
    catalog.removeMember('r', 'n', digest);
    catalog.deleteGrant('r/n', 'caller');
    assert.deepEqual(catalog.tags('r/n', 'v1'), []);
    assert.equal(catalog.isKnownTo('r', digest), false);
    assert.equal(catalog.grantedAt('r/n', 'caller'), undefined);
    assert.equal((await stat(path)).mode & 0o777, 0o600);
  });

  it('has one owner: another process is refused in clear words', async () => {
    await using temp = await TempDir.create('catalog');
    const path = temp.join('catalog.db');
    using _owner = Catalog.open(path);
    const module = new URL('../../../src/store/catalog.ts', import.meta.url).href;
    const script = `const { Catalog } = await import('${module}');
      try { Catalog.open('${path}'); console.log('got it'); } catch (error) { console.log(error.code, error.message); }`;
    const { stdout } = await run(process.execPath, ['--input-type=module', '-e', script]);
    assert.match(stdout, /^store_locked another weir node uses this data folder/);
  });

  it('sets a damaged file aside and begins anew', async () => {
    await using temp = await TempDir.create('catalog');
    const path = temp.join('catalog.db');
    await writeFile(path, Buffer.alloc(8192, 'nonsense'));
    const problems: string[] = [];
    using catalog = Catalog.open(path, (message) => problems.push(message));
    catalog.setMediaType(digest, 'a/b', 1);
    assert.equal(catalog.mediaType(digest), 'a/b');
    assert.equal(problems.length, 1);
    assert.ok((await readdir(temp.path)).includes('catalog.db.damaged'));
  });

  it('refuses a file that it cannot open', () => {
    assert.throws(
      () => Catalog.open('/nonexistent/folder/catalog.db'),
      (error) => isWeirError(error, 'store_unusable'),
    );
  });
});
