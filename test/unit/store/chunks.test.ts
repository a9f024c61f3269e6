import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { GIB, KIB, MIB } from '../../../src/util/clock.ts';
import { ChunkLayout, chunkSizeFor } from '../../../src/protocol/chunk-layout.ts';
import { CHUNK_HASH_BYTES, ChunkMap } from '../../../src/store/chunk-map.ts';

describe('ChunkLayout', () => {
  it('covers each byte exactly once', () => {
    fc.assert(
      fc.property(
        fc.maxSafeNat().filter((size) => size < 2 ** 44),
        (size) => {
          const layout = new ChunkLayout(size);
          assert.equal(layout.count, Math.ceil(size / layout.chunkSize));
          if (layout.count === 0) return;
          const last = layout.count - 1;
          assert.equal(layout.start(0), 0);
          assert.equal(layout.end(last), size);
          assert.ok(layout.length(last) > 0);
          assert.equal(layout.lastStart, layout.start(last));
          const position = Math.floor(size / 3);
          const index = layout.indexOf(position);
          assert.ok(layout.start(index) <= position && position < layout.end(index));
        },
      ),
    );
  });

  it('cuts a blob alike on all nodes: these values are part of the protocol', () => {
    const sizes = [0, 1, 8 * MIB, 9 * MIB, 32 * MIB, 64 * MIB, 1 * GIB, 4 * GIB, 5 * GIB, 33 * GIB];
    assert.deepEqual(
      sizes.map((size) => chunkSizeFor(size) / KIB),
      [128, 128, 128, 256, 512, 1024, 1024, 1024, 4096, 8192],
    );
  });
});

describe('ChunkMap', () => {
  it('is the same after encoding and decoding', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 50 * MIB }), fc.array(fc.nat(300)), (size, chunks) => {
        const map = new ChunkMap(new ChunkLayout(size));
        for (const chunk of chunks) {
          if (map.layout.count > 0)
            map.set(chunk % map.layout.count, new Uint8Array(CHUNK_HASH_BYTES).fill(chunk));
        }
        const decoded = ChunkMap.decode(map.encode());
        assert.ok(decoded !== undefined);
        assert.deepEqual(Buffer.from(decoded.encode()), Buffer.from(map.encode()));
      }),
      { numRuns: 50 },
    );
  });

  it('refuses bytes that are no chunk map', () => {
    const good = new ChunkMap(new ChunkLayout(3 * MIB)).encode();
    assert.equal(ChunkMap.decode(good.subarray(0, good.length - 1)), undefined);
    assert.equal(ChunkMap.decode(Buffer.concat([good, Buffer.alloc(1)])), undefined);
    const huge = Buffer.from(good);
    huge.writeBigUInt64BE(2n ** 63n, 8);
    assert.equal(ChunkMap.decode(huge), undefined);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) =>
        assert.equal(ChunkMap.decode(bytes), undefined),
      ),
    );
  });
});
