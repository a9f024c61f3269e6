import assert from 'node:assert/strict';
import { MIB } from '../../../src/util/clock.ts';
import { UnfinishedChunks } from '../../../src/pull/unfinished-chunks.ts';

function scene() {
  const given: number[] = [];
  const unfinished = new UnfinishedChunks({ give: ({ place }) => void given.push(place) });
  const keep = (pull: string, index: number): void =>
    unfinished.keep(pull, { index, worker: 0, place: index, length: MIB, filled: 1 });
  return { given, unfinished, keep };
}

describe('UnfinishedChunks', () => {
  it('hands a chunk over once', () => {
    const { given, unfinished, keep } = scene();
    keep('a', 3);
    assert.equal(unfinished.take('b', 3), undefined);
    assert.equal(unfinished.take('a', 3)?.filled, 1);
    assert.equal(unfinished.take('a', 3), undefined);
    assert.equal(unfinished.bytes, 0);
    assert.deepEqual(given, []);
  });

  it('keeps the newest 16 MiB of all pulls together', () => {
    const { given, unfinished, keep } = scene();
    for (let index = 0; index < 100; index++) keep(`pull ${index % 7}`, index);
    assert.equal(unfinished.bytes, 16 * MIB);
    assert.equal(unfinished.take(`pull ${83 % 7}`, 83), undefined);
    assert.equal(unfinished.take(`pull ${84 % 7}`, 84)?.index, 84);
    assert.equal(given.length, 84);
  });

  it('forgets the chunks of a pull that is over, and gives their memory back', () => {
    const { given, unfinished, keep } = scene();
    keep('pull 1', 0);
    keep('pull 1', 1);
    keep('pull 11', 2);
    unfinished.forget('pull 1');
    assert.equal(unfinished.bytes, MIB);
    assert.deepEqual(given, [0, 1]);
  });
});
