import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { editDistance, nearest } from '../../../src/config/spelling.ts';

describe('nearest: the nearest word', () => {
  it('is found for a typing error, not for another word', () => {
    assert.equal(nearest('listn', ['listen', 'log']), 'listen');
    assert.equal(nearest('LISTEN', ['listen']), 'listen');
    assert.equal(nearest('banana', ['listen', 'log']), undefined);
  });

  it('property: the distance is a metric', () => {
    const word = fc.string({ maxLength: 8 });
    fc.assert(fc.property(word, (a) => editDistance(a, a) === 0));
    fc.assert(fc.property(word, word, (a, b) => editDistance(a, b) === editDistance(b, a)));
    fc.assert(
      fc.property(
        word,
        word,
        word,
        (a, b, c) => editDistance(a, c) <= editDistance(a, b) + editDistance(b, c),
      ),
    );
  });
});
