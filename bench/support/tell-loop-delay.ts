/**
 * Loaded into a measured node (`--import`): at each SIGUSR2 it writes the delay of its event loop since the last one to a
 * file. So a node in a network namespace tells it, whose inspector could not be reached.
 */
import { renameSync, writeFileSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { isMainThread } from 'node:worker_threads';

const file = process.env['WEIR_BENCH_LOOP_DELAY'];
const resolution = Number(process.env['WEIR_BENCH_LOOP_RESOLUTION']);
if (isMainThread && file !== undefined) {
  const histogram = monitorEventLoopDelay({ resolution });
  histogram.enable();
  process.on('SIGUSR2', () => {
    const { count, max } = histogram;
    const told = [count, histogram.percentile(50), histogram.percentile(99), max];
    writeFileSync(`${file}.part`, JSON.stringify(told));
    renameSync(`${file}.part`, file);
    histogram.reset();
  });
}
