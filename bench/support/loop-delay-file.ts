/** The delay of a node's event loop while nodes pull, told through a file (tell-loop-delay.ts). */
import { readFile, rm } from 'node:fs/promises';
import { scheduler } from 'node:timers/promises';
import { SECOND } from '../../src/util/clock.ts';
import { systemCode } from '../../src/util/errors.ts';
import type { Percentiles } from '../../test/simulator/stats.ts';
import { parseDelay } from './loop-delay.ts';

const PRELOAD: string = new URL('./tell-loop-delay.ts', import.meta.url).pathname;
/** Milliseconds between two looks of the timer: it runs in turns that are measured, so it must cost nothing. */
const RESOLUTION = 10;
/** Milliseconds between two looks for the file, and for which it is waited for. */
const LOOK = 20;
const TOLD_WITHIN = 5 * SECOND;

/** Environment of a node that tells the delay. */
export function tellsLoopDelay(file: string): Readonly<Record<string, string>> {
  return {
    NODE_OPTIONS: `--import=${PRELOAD}`,
    WEIR_BENCH_LOOP_DELAY: file,
    WEIR_BENCH_LOOP_RESOLUTION: String(RESOLUTION),
  };
}

/** Milliseconds by which the loop was late since the last call, or since the start. @throws Error if the node is dead */
export async function askLoopDelay(pid: number, file: string): Promise<Percentiles> {
  await rm(file, { force: true });
  process.kill(pid, 'SIGUSR2');
  for (const deadline = performance.now() + TOLD_WITHIN; ; await scheduler.wait(LOOK)) {
    try {
      return parseDelay(JSON.parse(await readFile(file, 'utf8')), RESOLUTION);
    } catch (error) {
      if (systemCode(error) !== 'ENOENT' || performance.now() > deadline) throw error;
    }
  }
}
