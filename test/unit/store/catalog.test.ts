import assert from 'node:assert/strict';
import { readdir, stat, writeFile } from 'node:fs/promises';
import { DatabaseSync } from 'node:sqlite';
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

  it('takes over a file of the version before, and keeps what is in it', async () => {
    await using temp = await TempDir.create('catalog');
    const path = temp.join('catalog.db');
    makeForm1(path);
    {
      using catalog = Catalog.open(path);
      assert.equal(catalog.grantedAt('r/n', 'caller'), 4);
      assert.equal(catalog.isMember('r', 'n', digest), true);
      catalog.addListed('r', 'n', digest, 7, 8);
    }
    using catalog = Catalog.open(path);
    assert.equal(catalog.listedSize('r', 'n', digest), 7);
  });

  it('refuses a file of a newer version in clear words, and leaves it as it is', async () => {
    await using temp = await TempDir.create('catalog');
    const path = temp.join('catalog.db');
    {
      using db = new DatabaseSync(path);
      db.exec('CREATE TABLE of_tomorrow (x TEXT); PRAGMA user_version = 99;');
    }
    assert.throws(
      () => Catalog.open(path),
      (error) =>
        isWeirError(error, 'store_unusable') &&
        /^\S+catalog\.db was written by a newer weir \(form 99, .* remove the data folder/.test(
          error.message,
        ),
    );
    assert.deepEqual(tablesOf(path), ['of_tomorrow']);
  });

  it('refuses a file that it cannot open', () => {
    assert.throws(
      () => Catalog.open('/nonexistent/folder/catalog.db'),
      (error) => isWeirError(error, 'store_unusable'),
    );
  });
});

/** As the first form had it: without `listed`. */
function makeForm1(path: string): void {
  using db = new DatabaseSync(path);
  db.exec(`
    CREATE TABLE media_types (digest TEXT PRIMARY KEY, media_type TEXT NOT NULL, at INTEGER NOT NULL);
    CREATE TABLE tags (
      repository TEXT NOT NULL, tag TEXT NOT NULL, accept TEXT NOT NULL,
      digest TEXT NOT NULL, media_type TEXT NOT NULL, size INTEGER, at INTEGER NOT NULL,
      PRIMARY KEY (repository, tag, accept));
    CREATE TABLE members (
      registry TEXT NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL, at INTEGER NOT NULL,
      PRIMARY KEY (digest, registry, name));
    CREATE TABLE grants (
      repository TEXT NOT NULL, caller TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (repository, caller));
    CREATE TABLE challenges (repository TEXT PRIMARY KEY, challenge TEXT NOT NULL, at INTEGER NOT NULL);
    CREATE TABLE keys (name TEXT PRIMARY KEY, value BLOB NOT NULL);
    PRAGMA user_version = 1;`);
  db.prepare('INSERT INTO grants VALUES (?, ?, ?)').run('r/n', 'caller', 4);
  db.prepare('INSERT INTO members VALUES (?, ?, ?, ?)').run('r', 'n', digest, 3);
}

function tablesOf(path: string): readonly unknown[] {
  using db = new DatabaseSync(path);
  return db
    .prepare("SELECT name FROM sqlite_master WHERE type = 'table'")
    .all()
    .map(({ name }) => name);
}
