import assert from 'node:assert/strict';
import { readdir, stat, writeFile } from 'node:fs/promises';
import { DatabaseSync } from 'node:sqlite';
import { isWeirError } from '../../../src/util/errors.ts';
import { digestOf, type Digest } from '../../../src/oci/digest.ts';
import { parseRegistryHost, parseRepository } from '../../../src/oci/repository.ts';
import { Catalog } from '../../../src/store/catalog.ts';
import { blobAt } from '../../support/registry-blob.ts';
import { TempDir } from '../../support/temp.ts';
import { run } from '../../support/program.ts';

const digest = digestOf(Buffer.from('content'));
const repository = parseRepository(parseRegistryHost('registry.test'), 'n');
const elsewhere = parseRepository(parseRegistryHost('registry.test'), 'm');

describe('Catalog', () => {
  it('keeps its records across restarts', async () => {
    await using temp = await TempDir.create('catalog');
    const path = temp.join('catalog.db');
    let key: Uint8Array;
    {
      using catalog = Catalog.open(path);
      key = catalog.key('callers');
      catalog.setMediaType(blobAt(digest), 'a/b', 1);
      catalog.setTag(repository, 'v1', 'accept', { digest, mediaType: 'a/b', size: undefined, at: 2 });
      catalog.addServed(repository, digest, 3);
      catalog.setGrant(repository, 'caller', 4);
      catalog.setChallenge(repository, 'Basic realm="x"', 5);
      catalog.addProof(blobAt(digest), 6);
    }
    using catalog = Catalog.open(path);
    assert.deepEqual(catalog.key('callers'), key);
    assert.equal(catalog.mediaType(blobAt(digest)), 'a/b');
    assert.equal(catalog.mediaType(blobAt(digest, 'other.test')), undefined);
    catalog.setTag(repository, 'v1', 'other', { digest, mediaType: 'c/d', size: 7, at: 9 });
    assert.deepEqual(catalog.tags(repository, 'v1'), [
      { accept: 'other', digest, mediaType: 'c/d', size: 7, at: 9 },
      { accept: 'accept', digest, mediaType: 'a/b', size: undefined, at: 2 },
    ]);
    assert.equal(catalog.isServed(repository, digest), true);
    assert.equal(catalog.isServed(elsewhere, digest), false);
    assert.equal(catalog.isProven(blobAt(digest)), true);
    assert.equal(catalog.isProven(blobAt(digest, 'other.test')), false);
    assert.equal(catalog.hasDelivered(repository.registry), true);
    assert.equal(catalog.hasDelivered(parseRegistryHost('other.test')), false);
    assert.equal(catalog.grantedAt(repository, 'caller'), 4);
    assert.equal(catalog.challenge(repository), 'Basic realm="x"');
    catalog.deleteTag(repository, 'v1');
    catalog.removeFromRepository(repository, digest);
    catalog.deleteGrant(repository, 'caller');
    assert.deepEqual(catalog.tags(repository, 'v1'), []);
    assert.equal(catalog.isServed(repository, digest), false);
    assert.equal(catalog.isProven(blobAt(digest)), true, 'the proof of delivery stays');
    assert.equal(catalog.grantedAt(repository, 'caller'), undefined);
    assert.equal((await stat(path)).mode & 0o777, 0o600);
  });

  it('refuses a second process in clear words', async () => {
    await using temp = await TempDir.create('catalog');
    const path = temp.join('catalog.db');
    using _owner = Catalog.open(path);
    const module = new URL('../../../src/store/catalog.ts', import.meta.url).href;
    const script = `const { Catalog } = await import('${module}');
      try { Catalog.open('${path}'); console.log('got it'); } catch (error) { console.log(error.code, error.message); }`;
    const { stdout } = await run(process.execPath, ['--input-type=module', '-e', script]);
    assert.match(stdout, /^store_locked another weir node uses this data folder/);
  });

  it('sets a damaged file aside and begins a new one', async () => {
    await using temp = await TempDir.create('catalog');
    const path = temp.join('catalog.db');
    await writeFile(path, Buffer.alloc(8192, 'nonsense'));
    const problems: string[] = [];
    using catalog = Catalog.open(path, (message) => problems.push(message));
    catalog.addProof(blobAt(digest), 1);
    assert.equal(catalog.isProven(blobAt(digest)), true);
    assert.equal(problems.length, 1);
    assert.ok((await readdir(temp.path)).includes('catalog.db.damaged'));
  });

  it('does not take a claim to have a digest as a proof of delivery', () => {
    using catalog = Catalog.open(':memory:');
    catalog.addServed(repository, digest, 1);
    catalog.addListed(repository, 'blob', [{ digest, size: 7 }], 1);
    assert.equal(catalog.isProven(blobAt(digest)), false);
    assert.equal(catalog.hasDelivered(repository.registry), false);
    assert.equal(catalog.listedSize(repository, 'blob', digest), 7);
    assert.equal(catalog.listedSize(repository, 'manifest', digest), undefined, 'listed as another kind');
  });

  it('drops the records of an earlier version, whose proofs mean less, and keeps its keys', async () => {
    await using temp = await TempDir.create('catalog');
    const path = temp.join('catalog.db');
    makeForm2(path);
    using catalog = Catalog.open(path);
    assert.equal(catalog.grantedAt(repository, 'caller'), undefined);
    assert.equal(catalog.isProven(blobAt(digest)), false);
    assert.deepEqual([...catalog.key('callers')], [1, 2, 3]);
    catalog.addListed(repository, 'blob', [{ digest, size: 7 }], 8);
    assert.equal(catalog.listedSize(repository, 'blob', digest), 7);
  });

  it('drops rows of the registry with most rows first if it holds too many', () => {
    using catalog = Catalog.open(':memory:');
    const rows = (name: string, count: number): { digest: Digest; size: number }[] =>
      Array.from({ length: count }, (_, i) => ({ digest: digestOf(Buffer.from(`${name} ${i}`)), size: i }));
    const modest = rows('modest', 20_000);
    catalog.addListed(repository, 'blob', modest, 1);
    const loud = parseRepository(parseRegistryHost('loud.test'), 'n');
    const many = rows('loud', 210_000);
    for (let at = 0; at < many.length; at += 1000) {
      catalog.addListed(loud, 'blob', many.slice(at, at + 1000), 2 + at);
    }
    for (const { digest: each, size } of modest) {
      assert.equal(catalog.listedSize(repository, 'blob', each), size);
    }
    const kept = many.filter(({ digest: each }) => catalog.listedSize(loud, 'blob', each) !== undefined);
    assert.ok(kept.length <= 190_000, `${kept.length} rows of the loud one are kept`);
    assert.equal(kept.at(-1), many.at(-1), 'the newest stay');
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

/** The tables of the version before. */
function makeForm2(path: string): void {
  using db = new DatabaseSync(path);
  db.exec(`
    CREATE TABLE media_types (digest TEXT PRIMARY KEY, media_type TEXT NOT NULL, at INTEGER NOT NULL);
    CREATE TABLE members (
      registry TEXT NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL, at INTEGER NOT NULL,
      PRIMARY KEY (digest, registry, name));
    CREATE TABLE listed (
      registry TEXT NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL, size INTEGER NOT NULL, at INTEGER NOT NULL,
      PRIMARY KEY (digest, registry, name));
    CREATE TABLE grants (
      repository TEXT NOT NULL, caller TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (repository, caller));
    CREATE TABLE keys (name TEXT PRIMARY KEY, value BLOB NOT NULL);
    PRAGMA user_version = 2;`);
  db.prepare('INSERT INTO grants VALUES (?, ?, ?)').run('registry.test/n', 'caller', 4);
  db.prepare('INSERT INTO members VALUES (?, ?, ?, ?)').run('registry.test', 'n', digest, 3);
  db.prepare('INSERT INTO keys VALUES (?, ?)').run('callers', Uint8Array.from([1, 2, 3]));
}

function tablesOf(path: string): readonly unknown[] {
  using db = new DatabaseSync(path);
  return db
    .prepare("SELECT name FROM sqlite_master WHERE type = 'table'")
    .all()
    .map(({ name }) => name);
}
