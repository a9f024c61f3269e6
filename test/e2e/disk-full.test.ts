/** The disk of the data folder, a small tmpfs, really runs full. Every pull goes on; nothing wrong is kept. */
import assert from 'node:assert/strict';
import { appendFile, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { MIB } from '../../src/util/clock.ts';
import { systemCode } from '../../src/util/errors.ts';
import { request } from '../support/client.ts';
import { FaultProxy } from '../support/fault-proxy.ts';
import { shared } from '../support/fixture.ts';
import { blob, randomBytes, type TestBlob } from '../support/images.ts';
import { runOk } from '../support/program.ts';
import { pushBlob } from '../support/push.ts';
import { Registry } from '../support/registry.ts';
import { requires } from '../support/requires.ts';
import { TempDir } from '../support/temp.ts';
import { WeirNode } from '../support/weir.ts';

/** Has room for the blob beside the 256 MiB that a node leaves free. */
const DISK = 400 * MIB;
const SIZE = 60 * MIB;

requires('docker-registry', 'root')('disk full', () => {
  const lab = shared(async (stack) => {
    const registry = stack.use(await Registry.start());
    const layer = blob('application/octet-stream', randomBytes('disk-full', SIZE));
    await pushBlob(registry.url, 'disk/app', layer);
    const fault = { kind: 'throttle', bytesPerSecond: 20 * MIB } as const;
    const proxy = stack.use(await FaultProxy.start(registry.url, [{ path: /\/blobs\//, fault }]));
    return { layer, proxy };
  });

  it('a response goes on, unstored, if the disk fills in mid-blob', async () => {
    await using stack = new AsyncDisposableStack();
    const { weir, disk } = await onSmallDisk(stack);
    const { layer, proxy } = lab();
    const url = weir.urlOf(proxy.host, `disk/app/blobs/${layer.digest}`);
    let filled: Promise<unknown> | undefined;
    const answer = await request(url, {
      onProgress: (bytes) => {
        if (bytes > SIZE / 3) filled ??= fillUp(disk);
      },
    });
    assert.notEqual(filled, undefined);
    await filled;
    assertWhole(answer, layer);
    await weir.logged(/store_full/);
    const metrics = await weir.metrics();
    assert.equal(metrics.sum('weir_store_blobs'), 0);

    assertWhole(await request(url), layer); // still full: passed through from the start
    await rm(join(disk, 'filler'));
    assertWhole(await request(url), layer); // room again: stored
    const stored = await request(url);
    assertWhole(stored, layer);
    assert.equal(stored.headers.get('weir-source'), 'store');
  });

  it('on a disk that is full from the start, blobs are passed through, and the node starts and answers', async () => {
    await using stack = new AsyncDisposableStack();
    const { weir, disk } = await onSmallDisk(stack);
    const { layer, proxy } = lab();
    await fillUp(disk);
    const url = weir.urlOf(proxy.host, `disk/app/blobs/${layer.digest}`);
    const answer = await request(url);
    assertWhole(answer, layer);
    assert.equal(answer.headers.get('weir-source'), 'upstream');
    await weir.restart();
    assert.equal((await fetch(`${weir.adminUrl}/readyz`)).status, 200);
    assertWhole(await request(url), layer);
  });
});

/** Fills the disk to its last byte. The bulk comes at once: else a busy machine pulls the whole blob meanwhile. */
async function fillUp(disk: string): Promise<void> {
  const filler = join(disk, 'filler');
  const { bavail, bsize } = await statfs(disk);
  const bulk = bavail * bsize - SIZE; // the pull goes on and needs some of the room
  if (bulk > 0) await runOk('fallocate', ['--length', String(bulk), filler]);
  const zeros = Buffer.alloc(8 * MIB);
  for (const step of [8 * MIB, 64 * 1024, 1024, 1]) {
    for (let full = false; !full;) {
      full = await appendFile(filler, zeros.subarray(0, step)).then(() => false, isFull);
    }
  }
}

/** @throws any other error than "no space left": else the disk would count as full without being it */
function isFull(error: unknown): true {
  if (systemCode(error) !== 'ENOSPC') throw error;
  return true;
}

function assertWhole(answer: Awaited<ReturnType<typeof request>>, layer: TestBlob): void {
  assert.equal(answer.status, 200);
  assert.equal(answer.broken, undefined);
  assert.equal(answer.digest, layer.digest);
}

/** A node whose data folder has its own disk; the temporary folder unmounts it. */
async function onSmallDisk(stack: AsyncDisposableStack): Promise<{ weir: WeirNode; disk: string }> {
  const temp = stack.use(await TempDir.create('disk'));
  const disk = temp.join('disk');
  await runOk('mkdir', [disk]);
  await runOk('mount', ['-t', 'tmpfs', '-o', `size=${DISK}`, 'tmpfs', disk]);
  const settings = { 'data.dir': join(disk, 'data'), 'store.quota': '1GiB' };
  return { weir: stack.use(await WeirNode.start({ settings })), disk };
}
