import assert from 'node:assert/strict';
import { Metrics, type MetricsSources } from '../../../src/daemon/metrics.ts';
import { runOk } from '../../support/program.ts';

const MODULE = new URL('../../../src/daemon/metrics.ts', import.meta.url).href;
const SOURCES: MetricsSources = {
  usage: () => ({ blobs: 0, blobBytes: 0, partials: 0, partialBytes: 0, quota: 0 }),
  runtimeBlobs: () => 0,
  blobsInFlight: () => 0,
  unwrittenBytes: () => 0,
  members: () => 1,
  connections: () => 0,
  peerConnections: () => 0,
  reload: () => undefined,
};

describe('Metrics', () => {
  it('do not wake the process without a scrape', async () => {
    const script = `
      const { Metrics } = await import(${JSON.stringify(MODULE)});
      const metrics = new Metrics('1.2.3', {});
      const turns = () => performance.nodeTiming.uvMetricsInfo.loopCount;
      const before = turns();
      setTimeout(() => console.log(turns() - before), 500);`;
    const stdout = await runOk(process.execPath, ['--input-type=module', '--eval', script]);
    const turns = Number(stdout);
    assert.ok(turns > 0 && turns < 10, `turns of the event loop in 0.5 s: ${stdout}`);
  });

  it("have the event loop's lag, but no percentiles, which need a timer", async () => {
    const text = await new Metrics('1.2.3', SOURCES).registry.metrics();
    assert.ok(text.includes('\nnodejs_eventloop_lag_seconds '));
    assert.deepEqual(text.match(/nodejs_eventloop_lag_(p\d+|m\w+|stddev)_seconds/), null);
  });
});
