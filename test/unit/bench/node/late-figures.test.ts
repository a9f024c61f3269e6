import assert from 'node:assert/strict';
import { figuresOf, lateRows, type LateTurn } from '../../../../bench/node/late-figures.ts';
import { targetsOf } from '../../../../bench/node/targets.ts';
import { formatTable } from '../../../../bench/support/table.ts';
import { GIB } from '../../../../src/util/clock.ts';

const TURN: LateTurn = {
  rate: 200,
  readerBusy: 0.1,
  plainWrite: 0.4,
  upstreamShare: 0,
  first: { main: 2, 'libuv pool': 1 },
  sender: { groups: { main: 1, V8: 0.5 }, resident: 150 },
  receiver: { groups: { main: 2, V8: 0.25, data: 3, SignalInspector: 0.001 }, resident: 250 },
};
const DELAYS = { sender: { p50: 0.5, p99: 3, max: 9 }, receiver: { p50: 1, p99: 10, max: 20.25 } };

/** Three turns: the receiver's threads differ in the last one. */
const FIGURES = figuresOf(
  'TLS',
  [
    TURN,
    { ...TURN, rate: 100 },
    { ...TURN, rate: 150, receiver: { groups: { main: 4 }, resident: 350 }, upstreamShare: 0.5 },
  ],
  DELAYS,
);

describe('bench/node/late-figures', () => {
  it('sums the threads of each node, and both nodes', () => {
    assert.deepEqual(FIGURES.sender.cpu.values, [1.5, 1.5, 1.5]);
    assert.deepEqual(FIGURES.receiver.cpu.values, [5.251, 5.251, 4]);
    assert.deepEqual(FIGURES.cpu.values, [6.751, 6.751, 5.5]);
    assert.deepEqual(FIGURES.first.cpu.values, [3, 3, 3]);
    assert.deepEqual([FIGURES.rate.min, FIGURES.rate.median, FIGURES.rate.max], [100, 150, 200]);
  });

  it('counts a group of threads that a turn lacks as 0 there', () => {
    assert.deepEqual(FIGURES.receiver.threads['data']?.values, [3, 3, 0]);
    assert.deepEqual(FIGURES.receiver.threads['main']?.values, [2, 2, 4]);
    assert.equal(FIGURES.sender.threads['data'], undefined);
  });

  it('has columns of both nodes, and no row for threads that did nothing', () => {
    const report = { imageBytes: GIB, layers: 4, atOnce: 3, setups: [FIGURES] };
    const text = formatTable(lateRows(report, targetsOf({ late: report })));
    assert.match(
      text,
      /^LATE NODE, TLS, 1\.0 GiB in 4 layers, 3 at a time +sender +receiver +both +target$/m,
    );
    assert.match(text, /^throughput, MiB\/s +150 \(100–200\) +≥ 250 not reached \(aim 350 not reached\)$/m);
    assert.match(
      text,
      /^CPU of the node, s\/GiB +1\.50 \(.*\) +5\.25 \(4\.00–5\.25\) +6\.75 \(.*\) +≤ 7 reached \(aim 5\.5 not reached\)$/m,
    );
    assert.match(text, /^ {2}of this, data +0\.00 \(0\.00–0\.00\) +3\.00 \(0\.00–3\.00\)$/m);
    assert.match(text, /^memory, most, MiB +150 \(150–150\) +250 \(250–350\)$/m);
    assert.match(
      text,
      /^event loop late, .* +0\.5 \/ 3\.0 \/ 9\.0 +1\.0 \/ 10\.0 \/ 20\.3 +≤ 25 reached \(aim 10 reached\)$/m,
    );
    assert.match(
      text,
      /^CPU of the first pull .* 3\.00 \(3\.00–3\.00\) +≤ 4\.5 reached .*\n {2}of this, main +2\.00 /m,
    );
    assert.match(text, /^share from the registry .* 0\.000 \(0\.000–0\.500\)$/m);
    assert.match(text, /^a plain write to a new file, CPU s\/GiB +0\.40 /m);
    assert.doesNotMatch(text, /SignalInspector/);
  });
});
