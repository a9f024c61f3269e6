import assert from 'node:assert/strict';
import { Metrics } from '../../../src/daemon/metrics.ts';
import { IDLE_SOURCES } from '../../support/metrics.ts';
import { runOk } from '../../support/program.ts';

const MODULE = new URL('../../../src/daemon/metrics.ts', import.meta.url).href;
const FACTS = { version: '1.2.3', name: 'node-1', zone: 'zone-1' };
describe('Metrics', () => {
  it('do not wake the process without a scrape', async () => {
    const script = `
      const { Metrics } = await import(${JSON.stringify(MODULE)});
      const metrics = new Metrics({ version: '1.2.3', name: 'a', zone: '' }, {});
      const turns = () => performance.nodeTiming.uvMetricsInfo.loopCount;
      const before = turns();
      setTimeout(() => console.log(turns() - before), 500);`;
    const stdout = await runOk(process.execPath, ['--input-type=module', '--eval', script]);
    const turns = Number(stdout);
    assert.ok(turns > 0 && turns < 10, `turns of the event loop in 0.5 s: ${stdout}`);
  });

  it("have the event loop's lag, but no percentiles, which need a timer", async () => {
    const text = await new Metrics(FACTS, IDLE_SOURCES).registry.metrics();
    assert.ok(text.includes('\nnodejs_eventloop_lag_seconds '));
    assert.deepEqual(text.match(/nodejs_eventloop_lag_(p\d+|m\w+|stddev)_seconds/), null);
  });

  it('say which node this is', async () => {
    const text = await new Metrics(FACTS, IDLE_SOURCES).registry.metrics();
    assert.ok(text.includes('weir_node_info{name="node-1",zone="zone-1",version="1.2.3"} 1\n'));
  });

  it('begin at 0 with each label that is known, as Prometheus sees no increase in a first sample', async () => {
    const metrics = new Metrics(FACTS, IDLE_SOURCES);
    const samples = async (): Promise<readonly string[]> =>
      (await metrics.registry.metrics()).split('\n').filter((line) => /^weir_\w+_total/.test(line));
    const before = await samples();
    for (const wanted of [
      'weir_pulls_total{result="ok"}',
      'weir_mirror_bytes_total{source="swarm"}',
      'weir_peer_bytes_total{direction="in",zone="other"}',
      'weir_peer_suspicions_total{reason="wrong-bytes"}',
      'weir_cache_hits_total{kind="blob",source="store"}',
      'weir_unhandled_errors_total',
    ]) {
      assert.ok(before.includes(`${wanted} 0`), wanted);
    }
    metrics.traffic.blamed('wrong-hash');
    metrics.pulled(undefined);
    assert.equal((await samples()).length, before.length);
  });
});
