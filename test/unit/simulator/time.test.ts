import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { VirtualTime } from '../../simulator/virtual-time.ts';

describe('VirtualTime', () => {
  it('runs events in the order of their instants, then of their creation, with any delay', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 6 }), { maxLength: 200 }), (delays) => {
        const time = new VirtualTime([2, 5]);
        const ran: { readonly at: number; readonly made: number }[] = [];
        delays.forEach((delay, made) => {
          time.after(delay, () => {
            ran.push({ at: time.now, made });
            if (made % 3 === 0)
              time.after(2, () => ran.push({ at: time.now, made: delays.length + ran.length }));
          });
        });
        time.run(() => false, 1000);
        assert.deepEqual(
          ran,
          ran.toSorted((a, b) => a.at - b.at || a.made - b.made),
        );
        assert.equal(ran.length, delays.length + Math.ceil(delays.length / 3));
      }),
      { seed: 1 },
    );
  });

  it('skips cancelled events, and stops when it is told to', () => {
    const time = new VirtualTime([1]);
    const ran: number[] = [];
    time.after(1, () => ran.push(1))();
    time.after(1, () => ran.push(2));
    time.after(2, () => time.stop());
    time.after(3, () => ran.push(3));
    time.run(() => false, 10);
    assert.deepEqual(ran, [2]);
    assert.equal(time.now, 2);
  });
});
