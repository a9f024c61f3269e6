import assert from 'node:assert/strict';
import { MIB } from '../../../src/util/clock.ts';
import { Processors } from '../../simulator/processors.ts';
import { VirtualTime } from '../../simulator/virtual-time.ts';

describe('simulator: processors of a node', () => {
  let time: VirtualTime;
  let seen: [name: string, at: number][];
  const see = (name: string) => (): void => void seen.push([name, time.now]);

  beforeEach(() => {
    time = new VirtualTime();
    seen = [];
  });

  it('main takes one thing after the other, and begins at once when it is free', () => {
    const { main } = new Processors(time, 2);
    main.begin(5, see('a'));
    main.begin(3, see('b'));
    main.begin(1, see('c'));
    time.run(() => false, 100);
    assert.deepEqual(seen, [
      ['a', 0],
      ['b', 5],
      ['c', 8],
    ]);
    assert.deepEqual([main.used, main.longestWait], [9, 8]);
  });

  it('workers are as many as the cores allow, four at most, beside main', () => {
    for (const [cores, together] of [
      [2, 1],
      [3, 2],
      [5, 4],
      [64, 4],
    ] as const) {
      time = new VirtualTime();
      seen = [];
      const { main, workers } = new Processors(time, cores);
      main.charge(100);
      for (let i = 0; i < 4; i++) workers.after(10, MIB, see(`${cores}`));
      time.run(() => false, 100);
      assert.equal(seen.filter(([, at]) => at === 10).length, together, `${cores} cores`);
      assert.equal(workers.used, 40);
    }
  });

  it('bytes cost by the MiB', () => {
    const { workers } = new Processors(time, 2);
    workers.after(4, MIB / 4, see('quarter'));
    time.run(() => false, 100);
    assert.deepEqual(seen, [['quarter', 1]]);
  });

  it('fewer cores are slower: below one, all threads share it', () => {
    const quarter = new Processors(time, 0.25);
    assert.equal(quarter.main, quarter.workers);
    quarter.main.begin(1, see('main'));
    quarter.workers.after(1, MIB, see('worker'));
    time.run(() => false, 100);
    assert.deepEqual(seen, [
      ['main', 0],
      ['worker', 8],
    ]);
    assert.equal(quarter.used, 2);
    const both = new Processors(time, 1.5);
    assert.equal(both.main.charge(3), 4);
    assert.equal(both.workers.charge(3), 4);
    assert.equal(both.used, 6);
  });
});
