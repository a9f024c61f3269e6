import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { Bitfield } from '../../../src/protocol/bitfield.ts';

describe('Bitfield', () => {
  it('behaves as a set of numbers', () => {
    const operation = fc.tuple(fc.constantFrom('set', 'clear'), fc.nat(299));
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 300 }), fc.array(operation), (length, operations) => {
        const bits = new Bitfield(length);
        const model = new Set<number>();
        for (const [what, number] of operations) {
          const index = number % length;
          if (what === 'set') model.add(index);
          else model.delete(index);
          bits[what](index);
        }
        const all = Array.from({ length }, (_, index) => index);
        assert.deepEqual(
          all.filter((index) => bits.has(index)),
          [...model].toSorted((a, b) => a - b),
        );
        assert.equal(bits.count, model.size);
        assert.equal(bits.full, model.size === length);
        for (const from of all) {
          assert.equal(bits.firstClear(from), all.find((i) => i >= from && !model.has(i)) ?? length);
          assert.equal(bits.firstSet(from), all.find((i) => i >= from && model.has(i)) ?? length);
        }
        assert.deepEqual(new Bitfield(length, bits.bytes.slice()).count, bits.count);
      }),
    );
  });

  it('ignores bits after its end, and refuses bytes of another length', () => {
    assert.equal(new Bitfield(3, new Uint8Array([0xff])).count, 3);
    assert.throws(() => new Bitfield(9, new Uint8Array(1)), RangeError);
    assert.throws(() => new Bitfield(3).set(3), RangeError);
  });
});
