import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { KIB, MIB } from '../../../src/util/clock.ts';
import { WriteBehind } from '../../../src/store/write-behind.ts';
import { ReceiveBudget } from '../../../src/util/receive-budget.ts';
import { eventually } from '../../support/eventually.ts';

const NEVER = new AbortController().signal;

function room(limit = 64 * MIB): ReceiveBudget {
  return new ReceiveBudget({ limit, later: (callback) => void setImmediate(callback) });
}

describe('WriteBehind', () => {
  it('writes all buffers in order, for any sizes and any speed of the disk', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(400 * KIB), { maxLength: 20 }), fc.boolean(), async (sizes, slow) => {
        const written: Buffer[] = [];
        let expected = 7;
        const writer = new WriteBehind(7, room(), async (offset, buffers) => {
          assert.equal(offset, expected);
          if (slow) await new Promise((resolve) => setImmediate(resolve));
          const bytes = Buffer.concat(buffers);
          expected += bytes.length;
          written.push(bytes);
        });
        const buffers = sizes.map((size, index) => Buffer.alloc(size, index));
        for (const buffer of buffers) await writer.push(buffer, NEVER);
        await writer.flush();
        assert.ok(Buffer.concat(written).equals(Buffer.concat(buffers)));
      }),
      { numRuns: 30 },
    );
  });

  it('makes the source wait once 2 MiB wait, and no earlier', async () => {
    const release = Promise.withResolvers<void>();
    const writer = new WriteBehind(0, room(), () => release.promise);
    for (let count = 0; count < 16; count++) await writer.push(Buffer.alloc(64 * KIB), NEVER); // one write runs, 15 wait
    let passed = false;
    const full = writer.push(Buffer.alloc(2048 * KIB), NEVER).then(() => (passed = true));
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(passed, false);
    release.resolve();
    await full;
    await writer.flush();
  });

  it('writes small buffers after a moment, without a flush', async () => {
    const written = Promise.withResolvers<number>();
    const writer = new WriteBehind(5, room(), (offset, buffers) => {
      written.resolve(offset + buffers.reduce((sum, { length }) => sum + length, 0));
      return Promise.resolve();
    });
    await writer.push(Buffer.alloc(10), NEVER);
    await writer.push(Buffer.alloc(20), NEVER);
    assert.equal(await written.promise, 35, 'both in one write, without a flush');
  });

  it('reports a failed write at the next call', async () => {
    const writer = new WriteBehind(0, room(), () => Promise.reject(new Error('disk full')));
    await writer.push(Buffer.alloc(1), NEVER);
    await assert.rejects(writer.flush(), /disk full/);
    await assert.rejects(writer.push(Buffer.alloc(1), NEVER), /disk full/);
  });

  it('waits while the node has no room, and gives its bytes back whether a write succeeds or not', async () => {
    const shared = room(MIB);
    let fail = false;
    const { promise, resolve } = Promise.withResolvers<void>();
    const writers = [0, 1, 2].map(
      () =>
        new WriteBehind(0, shared, async () => {
          await promise;
          if (fail) throw new Error('the disk is gone');
        }),
    );
    const pushed = writers.map(async (writer) => {
      for (let i = 0; i < 40; i++) await writer.push(Buffer.alloc(64 * KIB), NEVER);
      await writer.flush();
    });
    await eventually(() => assert.ok(shared.used > MIB - 64 * KIB, `${shared.used}`));
    assert.ok(shared.used <= MIB, `${shared.used}`);
    resolve();
    await Promise.all(pushed);
    assert.equal(shared.used, 0);
    fail = true;
    await assert.rejects(async () => {
      for (;;) await writers[0]?.push(Buffer.alloc(64 * KIB), NEVER);
    }, /the disk is gone/);
    assert.equal(shared.used, 0);
  });

  it('gives up waiting for room if its signal is aborted', async () => {
    const shared = room(KIB);
    assert.ok(shared.tryTake(KIB));
    const stop = new AbortController();
    const pushing = new WriteBehind(0, shared, () => Promise.resolve()).push(Buffer.alloc(1), stop.signal);
    stop.abort(new Error('enough'));
    await assert.rejects(pushing, /enough/);
    assert.equal(shared.used, KIB);
  });
});
