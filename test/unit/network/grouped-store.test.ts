import assert from 'node:assert/strict';
import { GroupedStore } from '../../../src/network/grouped-store.ts';

type Key = Parameters<GroupedStore['get']>[0];

/** The parts of a key that the store uses. */
const key = (path: string): Key => ({ toString: () => path }) as Key;
const value = (byte: number): Uint8Array => Uint8Array.from([byte]);
const paths = (store: GroupedStore, prefix: string): readonly string[] =>
  [...store.query({ prefix })].map(({ key: found }) => found.toString());

describe('GroupedStore', () => {
  it('puts, gets and deletes', () => {
    const store = new GroupedStore();
    store.put(key('/peers/a'), value(1));
    store.put(key('/peers/a'), value(2));
    assert.deepEqual(store.get(key('/peers/a')), value(2));
    assert.equal(store.size, 1);
    assert.ok(store.has(key('/peers/a')));
    store.delete(key('/peers/a'));
    store.delete(key('/peers/a'));
    assert.equal(store.size, 0);
    assert.throws(() => store.get(key('/peers/a')), { name: 'NotFoundError' });
  });

  it('finds all entries below a path', () => {
    const store = new GroupedStore();
    for (const path of [
      '/peers/a',
      '/peers/b',
      '/dht/provider/x/a',
      '/dht/provider/x/b',
      '/dht/provider/y/a',
    ]) {
      store.put(key(path), value(1));
    }
    assert.deepEqual(paths(store, '/peers/'), ['/peers/a', '/peers/b']);
    assert.deepEqual(paths(store, '/dht/provider/x'), ['/dht/provider/x/a', '/dht/provider/x/b']);
    assert.equal(paths(store, '/dht/provider').length, 3);
    assert.equal(paths(store, '').length, 5);
    const [last] = store.queryKeys({
      filters: [(found) => found.toString().endsWith('/a')],
      orders: [(a, b) => (a.toString() < b.toString() ? 1 : -1)],
      offset: 0,
      limit: 1,
    });
    assert.equal(last?.toString(), '/peers/a');
  });

  it('refuses a value that is too long, and keeps the old one', () => {
    const store = new GroupedStore();
    store.put(key('/peers/a'), value(1));
    assert.throws(() => store.put(key('/peers/a'), new Uint8Array(4097)), RangeError);
    assert.deepEqual(store.get(key('/peers/a')), value(1));
  });

  it('never exceeds its bytes, whatever is written and deleted', () => {
    const store = new GroupedStore({ maxBytes: 10_000 });
    for (let i = 0; i < 1000; i += 1) {
      store.put(key(`/peers/${i % 70}`), new Uint8Array(i % 400));
      if (i % 3 === 0) store.delete(key(`/peers/${(i * 7) % 70}`));
      const bytes = [...store.query({})].map((pair) => pair.key.toString().length + pair.value.length);
      assert.equal(
        store.bytes,
        bytes.reduce((sum, each) => sum + each, 0),
      );
      assert.ok(store.bytes <= 10_000);
    }
    for (const found of Array.from(store.queryKeys({}))) store.delete(found);
    assert.equal(store.bytes, 0);
  });

  it('keeps only the latest providers of one blob', () => {
    const store = new GroupedStore({ maxProviders: 3 });
    for (let i = 0; i < 6; i += 1) store.put(key(`/dht/provider/x/${i}`), value(i));
    assert.deepEqual(paths(store, '/dht/provider/x'), [
      '/dht/provider/x/3',
      '/dht/provider/x/4',
      '/dht/provider/x/5',
    ]);
    for (let i = 0; i < 6; i += 1) store.put(key(`/peers/${i}`), value(i));
    assert.equal(paths(store, '/peers').length, 6);
  });

  it('drops the entries written longest ago above its limit', () => {
    const store = new GroupedStore({ maxEntries: 10 });
    for (let i = 0; i < 100; i += 1) {
      store.put(key(`/dht/provider/${i}/a`), value(1));
      store.put(key('/peers/a'), value(1));
    }
    assert.equal(store.size, 10);
    assert.ok(store.has(key('/peers/a')));
    assert.ok(store.has(key('/dht/provider/99/a')));
  });

  it('handles batches, putMany and deleteMany', async () => {
    const store = new GroupedStore();
    const batch = store.batch();
    batch.put(key('/a/b'), value(1));
    batch.put(key('/a/c'), value(1));
    batch.delete(key('/a/b'));
    assert.equal(store.size, 0);
    await batch.commit();
    assert.deepEqual(paths(store, '/a'), ['/a/c']);
    const pairs = [{ key: key('/a/d'), value: value(4) }];
    for await (const put of store.putMany(pairs)) assert.equal(put.toString(), '/a/d');
    for await (const got of store.getMany([key('/a/d')])) assert.deepEqual(got.value, value(4));
    for await (const gone of store.deleteMany([key('/a/d')])) assert.equal(gone.toString(), '/a/d');
    assert.deepEqual(paths(store, '/a'), ['/a/c']);
  });
});
