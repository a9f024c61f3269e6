import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { parseRangeHeader, type RangeRequest } from '../../../src/oci/range.ts';

const part = (start: number, end: number): RangeRequest => ({ kind: 'part', range: { start, end } });

describe('parseRangeHeader', () => {
  const cases: readonly [string | undefined, number, RangeRequest][] = [
    [undefined, 10, { kind: 'whole' }],
    ['bytes=0-', 10, part(0, 10)],
    ['bytes=3-', 10, part(3, 10)],
    ['bytes=3-5', 10, part(3, 6)],
    ['bytes=3-100', 10, part(3, 10)],
    ['bytes=-3', 10, part(7, 10)],
    ['bytes=-100', 10, part(0, 10)],
    ['Bytes=3-5', 10, part(3, 6)],
    ['bytes=10-', 10, { kind: 'unsatisfiable' }],
    ['bytes=-0', 10, { kind: 'unsatisfiable' }],
    ['bytes=0-', 0, { kind: 'unsatisfiable' }],
    ['bytes=1-2,4-5', 10, { kind: 'whole' }],
    ['bytes=5-3', 10, { kind: 'unsatisfiable' }],
    ['bytes=a-b', 10, { kind: 'whole' }],
    ['lines=1-2', 10, { kind: 'whole' }],
  ];
  for (const [header, size, expected] of cases) {
    it(`${header} of ${size} bytes`, () => assert.deepEqual(parseRangeHeader(header, size), expected));
  }

  it('stays within the blob for any header', () => {
    const header = fc.oneof(
      fc.string(),
      fc.tuple(fc.nat(), fc.nat()).map(([a, b]) => `bytes=${a}-${b}`),
    );
    fc.assert(
      fc.property(header, fc.nat(1000), (text, size) => {
        const range = parseRangeHeader(text, size);
        if (range.kind !== 'part') return;
        const { start, end } = range.range;
        assert.ok(0 <= start && start < end && end <= size);
      }),
    );
  });
});
