import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { KIB } from '../../../src/clock.ts';
import { WriteBehind } from '../../../src/pull/write-behind.ts';

describe('WriteBehind', () => {
  it('writes all pieces in order, whatever their sizes and however slow the disk', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(400 * KIB), { maxLength: 20 }), fc.boolean(), async (sizes, slow) => {
        const written: Buffer[] = [];
        let expected = 7;
        const writer = new WriteBehind(7, async (offset, buffers) => {
          assert.equal(offset, expected);
          if (slow) await new Promise((resolve) => setImmediate(resolve));
          const bytes = Buffer.concat(buffers);
          expected += bytes.length;
          written.push(bytes);
        });
        const pieces = sizes.map((size, index) => Buffer.alloc(size, index));
        for (const piece of pieces) await writer.push(piece);
        await writer.flush();
        assert.ok(Buffer.concat(written).equals(Buffer.concat(pieces)));
      }),
      { numRuns: 30 },
    );
  });

  it('makes the source wait once too much is waiting, and no earlier', async () => {
    const release = Promise.withResolvers<void>();
    const writer = new WriteBehind(0, () => release.promise);
    for (let count = 0; count < 16; count++) await writer.push(Buffer.alloc(64 * KIB)); // one write runs, 15 wait
    let passed = false;
    const full = writer.push(Buffer.alloc(2048 * KIB)).then(() => (passed = true));
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(passed, false);
    release.resolve();
    await full;
    await writer.flush();
  });

  it('writes little pieces without waiting for more than a moment', async () => {
    const written = Promise.withResolvers<number>();
    const writer = new WriteBehind(5, (offset, buffers) => {
      written.resolve(offset + buffers.reduce((sum, { length }) => sum + length, 0));
      return Promise.resolve();
    });
    await writer.push(Buffer.alloc(10));
    await writer.push(Buffer.alloc(20));
    assert.equal(await written.promise, 35, 'both in one write, and nobody flushed');
  });

  it('tells of a failed write at the next call', async () => {
    const writer = new WriteBehind(0, () => Promise.reject(new Error('disk full')));
    await writer.push(Buffer.alloc(1));
    await assert.rejects(writer.flush(), /disk full/);
    await assert.rejects(writer.push(Buffer.alloc(1)), /disk full/);
  });
});
