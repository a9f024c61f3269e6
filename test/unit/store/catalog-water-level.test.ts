import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { waterLevel } from '../../../src/store/catalog.ts';

describe('waterLevel', () => {
  it('sets no level if all fit', () => {
    assert.equal(waterLevel([1, 2, 3], 6), undefined);
    assert.equal(waterLevel([], 0), undefined);
  });

  it('takes from the largest first', () => {
    assert.equal(waterLevel([1, 2, 100], 10), 7);
    assert.equal(waterLevel([50, 50], 10), 5);
  });

  it('fills the room and no more, and gives each at least an equal share', () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat({ max: 1000 }), { minLength: 1, maxLength: 20 }),
        fc.nat({ max: 5000 }),
        (wanted, room) => {
          const level = waterLevel(wanted, room);
          const had = wanted.map((want) => Math.min(want, level ?? Infinity));
          const total = had.reduce((sum, each) => sum + each, 0);
          assert.ok(total <= room || level === undefined);
          if (level === undefined) {
            assert.ok(total <= room, 'all fit');
            return;
          }
          assert.ok(total > room - wanted.length, 'room is left over');
          assert.ok(level >= Math.floor(room / wanted.length), 'less than an equal share');
        },
      ),
    );
  });
});
