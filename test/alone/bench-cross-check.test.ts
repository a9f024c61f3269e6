/**
 * `bench crowd` and `bench simulate` with the same settings: the time of twelve real nodes, and the model's prediction.
 * Only the ratio of one run is asserted, neither time by itself.
 */
import assert from 'node:assert/strict';
import type { CrowdResult } from '../../bench/crowd/result.ts';
import { percentile } from '../simulator/stats.ts';
import { bench } from '../support/bench.ts';
import { requires } from '../support/requires.ts';
import { TempDir } from '../support/temp.ts';

/** At 10 Mbit/s two cores are enough for twelve nodes. */
const SAME = '--nodes 12 --layers 12MiB,6MiB,3MiB,2MiB,1MiB --link 10mbit --registry 10mbit'.split(' ');
/** The queue is the time that a packet waits at a full link of `crowd`, in Lan. */
const MODEL = '--queue 50ms --handshakes --repeat 3'.split(' ');
const AGREES: readonly [number, number] = [1 / 1.2, 1.2];
/** Other work on the cores slows the nodes: the bound must hold in one of this many goes. */
const GOES = 3;

requires(
  'docker-registry',
  'ip',
  'nft',
  'root',
)('bench crowd and bench simulate', () => {
  it('agree within 20% on the makespan of 12 nodes', async () => {
    await using dir = await TempDir.create('bench-cross-check');
    const goes: string[] = [];
    for (let go = 1; go <= GOES; go++) {
      const crowd = await bench('crowd', [...SAME, '--repeat', '1'], dir.join('crowd'));
      const [real] = crowd.report.results as readonly CrowdResult[];
      assert.ok(real?.link_ratio, 'links were measured');
      assert.deepEqual(real.failure_reasons, []);
      const headers = `${((1 - 1 / real.link_ratio) * 100).toFixed(1)}%`;
      const options = [...SAME, ...MODEL, '--headers', headers];
      const { results: turns } = (await bench('simulate', options, dir.join('simulate'))).report;
      assert.ok(turns.every(({ failures }) => failures === 0));
      const predicted = percentile(
        turns.map((turn) => turn.makespan_s),
        50,
      );
      const ratio = predicted / real.makespan_s;
      const seconds = `${predicted.toFixed(1)} s predicted, ${real.makespan_s.toFixed(1)} s measured`;
      const busy = `CPU ${Math.round(100 * real.cpu_busy)}%, ${real.fallback_requests} requests past the mirrors`;
      goes.push(`${seconds}, ${headers} of the bytes on links were not content, ${busy}`);
      if (ratio >= AGREES[0] && ratio <= AGREES[1]) return;
    }
    assert.fail(goes.join('; '));
  });
});
