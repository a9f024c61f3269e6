/** Other programs fill the disk of the data folder, or it becomes read-only: the store gives way, and every pull goes on. */
import assert from 'node:assert/strict';
import { open, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { MIB, MINUTE } from '../../src/util/clock.ts';
import { request } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { shared } from '../support/fixture.ts';
import { blob, randomBytes, type TestBlob } from '../support/images.ts';
import { runOk } from '../support/program.ts';
import { pushBlob } from '../support/push.ts';
import { Registry } from '../support/registry.ts';
import { requires } from '../support/requires.ts';
import { TempDir } from '../support/temp.ts';
import { WeirNode } from '../support/weir.ts';

const DISK = 400 * MIB;
const SIZE = 8 * MIB;
/** Above the 256 MiB that a node leaves free in any case. */
const MARKS = { 'store.shrink-below': '85%', 'store.stop-below': '75%' };

requires('docker-registry', 'root')('the disk of the data folder', () => {
  const lab = shared(async (stack) => {
    const registry = stack.use(await Registry.start());
    const layers = ['a', 'b'].map((seed) =>
      blob('application/octet-stream', randomBytes(`disk-${seed}`, SIZE)),
    );
    for (const layer of layers) await pushBlob(registry.url, 'disk/app', layer);
    return { registry, layers };
  });

  /** Pulls the blob. @returns the source of its bytes */
  const pull = async (weir: WeirNode, index: number): Promise<string | null> => {
    const { registry, layers } = lab();
    const layer: TestBlob = layers[index] ?? assert.fail();
    const answer = await request(weir.urlOf(registry.host, `disk/app/blobs/${layer.digest}`));
    assert.deepEqual([answer.status, answer.broken, answer.digest], [200, undefined, layer.digest]);
    return answer.headers.get('weir-source');
  };

  const lines = (weir: WeirNode, text: string): number => weir.log.split(text).length - 1;

  it('is left to others: the store shrinks, then takes nothing new, and does again once there is space', async () => {
    await using stack = new AsyncDisposableStack();
    const { weir, disk } = await onSmallDisk(stack, MARKS);
    await pull(weir, 0);
    assert.equal(await pull(weir, 0), 'store');
    const { store } = await weir.status();
    assert.deepEqual([store.state, store.blobs, store.bytes], ['normal', 1, SIZE]);

    await leaveFree(disk, 0.8);
    await weir.logged(/the disk is filling up: the store shrinks/, MINUTE); // nobody pulls: the node looks by itself
    await eventually(async () => assert.equal((await weir.status()).store.blobs, 0));

    await leaveFree(disk, 0.7);
    const full =
      /"free":"(?:6|7)\d\.\d%".*the disk is almost full: nothing new is stored, and blobs pass through/;
    await eventually(async () => {
      for (const index of [0, 1]) await pull(weir, index); // a look at the disk may have been made just before
      assert.match(weir.log, full);
    });
    for (const index of [0, 0, 1, 1]) assert.equal(await pull(weir, index), 'upstream', 'not kept');
    const metrics = await weir.metrics();
    assert.equal(metrics.sum('weir_store_state', { state: 'stopped' }), 1);
    assert.equal(metrics.sum('weir_store_state'), 1);
    assert.equal(Math.round(metrics.sum('weir_store_disk_free_ratio') * 10), 7);

    await leaveFree(disk, 0.98);
    await pull(weir, 1);
    assert.equal(await pull(weir, 1), 'store');
    await weir.logged(/the disk has space again/);
    assert.equal((await weir.status()).store.state, 'normal');
    for (const text of ['the disk is filling up', 'the disk is almost full', 'the disk has space again'])
      assert.equal(lines(weir, text), 1, text);
  });

  it('passes blobs through while it is read-only, with one line when that begins and one when it ends', async () => {
    await using stack = new AsyncDisposableStack();
    const { weir, disk } = await onSmallDisk(stack);
    const partial = join(disk, 'data/partial');
    await runOk('mount', ['--bind', partial, partial]);
    await runOk('mount', ['-o', 'remount,bind,ro', partial]);
    for (const index of [0, 1, 0, 1]) assert.equal(await pull(weir, index), 'upstream');
    await weir.logged(
      /"problem":"EROFS: .*the data folder cannot be written: blobs pass through, and none is stored/,
    );
    assert.equal((await weir.status()).store.state, 'unwritable');
    await runOk('mount', ['-o', 'remount,bind,rw', partial]);
    await runOk('umount', [partial]);
    await pull(weir, 0);
    assert.equal(await pull(weir, 0), 'store');
    await weir.logged(/the data folder can be written again/);
    assert.doesNotMatch(
      weir.log,
      /"level":"warn".*blob not pulled/,
      'a line for each blob would hide the one',
    );
    assert.equal(lines(weir, 'the data folder can'), 2);
  });
});

/** Fills the disk until this share of it is free, or frees as much. */
async function leaveFree(disk: string, share: number): Promise<void> {
  const { blocks, bavail, bsize } = await statfs(disk);
  await using filler = await open(join(disk, 'filler'), 'a');
  const { size } = await filler.stat();
  const bytes = size + Math.floor((bavail - blocks * share) * bsize);
  if (bytes < size) await filler.truncate(Math.max(0, bytes));
  else await runOk('fallocate', ['--length', String(bytes), join(disk, 'filler')]);
}

/** A node whose data folder has its own disk; the temporary folder unmounts it. */
async function onSmallDisk(
  stack: AsyncDisposableStack,
  marks: Readonly<Record<string, string>> = {},
): Promise<{ weir: WeirNode; disk: string }> {
  const temp = stack.use(await TempDir.create('disk'));
  const disk = temp.join('disk');
  await runOk('mkdir', [disk]);
  await runOk('mount', ['-t', 'tmpfs', '-o', `size=${DISK}`, 'tmpfs', disk]);
  const settings = { 'data.dir': join(disk, 'data'), 'store.quota': '100MiB', ...marks };
  return { weir: stack.use(await WeirNode.start({ settings })), disk };
}
