import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { chooseNodes, formatNodeCount, tryParseNodeCount } from '../../../src/preheat/choose-nodes.ts';
import { nodesOf } from './scene.ts';

const chosen = (count: number, nodes: string, zone?: string, key = 'ghcr.io/org/app'): readonly string[] => {
  const parsed = tryParseNodeCount(nodes);
  assert.ok(parsed, nodes);
  return chooseNodes(nodesOf(count), { zone, nodes: parsed, key }).map(({ name }) => name);
};

describe('chooseNodes', () => {
  it('reads all, a number and a share, and nothing else', () => {
    for (const text of ['all', '1', '300', '1%', '100%']) {
      const read = tryParseNodeCount(text);
      assert.ok(read, text);
      assert.equal(formatNodeCount(read), text);
    }
    for (const text of ['', '0', '-1', '1.5', '0%', '101%', ' 2', '2 ', 'ALL', '1e3', '10%%', '1234567']) {
      assert.equal(tryParseNodeCount(text), undefined, JSON.stringify(text));
    }
  });

  it('takes so many, and all if there are fewer', () => {
    assert.equal(chosen(10, 'all').length, 10);
    assert.equal(chosen(10, '3').length, 3);
    assert.equal(chosen(10, '11').length, 10);
    assert.equal(chosen(10, '25%').length, 3); // a part of a node is a node
    assert.equal(chosen(200, '1%').length, 2);
  });

  it('takes nodes of the zone alone', () => {
    assert.deepEqual(chosen(6, 'all', 'b').toSorted(), ['node-2', 'node-4', 'node-6']);
    assert.equal(chosen(6, '50%', 'b').length, 2);
    assert.deepEqual(chosen(6, 'all', 'c'), []);
    // The empty name is that of members without a zone, and no word for all.
    assert.deepEqual(chosen(6, 'all', ''), []);
  });

  it('takes the same nodes for the same images, and others for others', () => {
    assert.deepEqual(chosen(100, '5'), chosen(100, '5'));
    assert.notDeepEqual(chosen(100, '5'), chosen(100, '5', undefined, 'ghcr.io/org/other'));
  });

  it('keeps those that it chose, whatever the number and whoever else is there', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 80 }), fc.integer({ min: 1, max: 80 }), (count, nodes) => {
        const few = chosen(count, String(nodes));
        const more = chosen(count, String(nodes + 1));
        assert.ok(few.every((name) => more.includes(name)));
        // A member that joins takes at most one place.
        const joined = chosen(count + 1, String(nodes));
        assert.ok(few.filter((name) => !joined.includes(name)).length <= 1);
      }),
    );
  });
});
