/**
 * Before a turn is measured: all nodes pull a small image, a few at a time, and then rest. A node of a cluster has pulled
 * before; a Node.js process that does so for the first time compiles its code meanwhile, half a second of CPU for each,
 * and where dozens share two cores that would be most of what is measured.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { MINUTE, SECOND } from '../../src/clock.ts';
import { busyShare, cpuTimes } from '../support/cpu-share.ts';
import { inParallel } from '../support/parallel.ts';
import type { RunningRuntime } from './runtimes/runtime.ts';
import type { Scene } from './scene.ts';

/** Nodes that pull at one time: enough to pull from each other. */
const AT_ONCE = 4;
const PULL_WITHIN: number = MINUTE;
/** Of all cores: a machine that does no more rests. */
const CALM = 0.3;
/** Milliseconds over which that is seen, and that it is waited for. */
const LOOK: number = 2 * SECOND;
const CALM_WITHIN: number = 30 * SECOND;

/** What fails here says nothing about the turn, where it would fail too. @returns how many pulls did */
export async function warmUp(
  { warmUp: wares, signal }: Scene,
  runtime: RunningRuntime,
  nodes: number,
): Promise<number> {
  const failed = await inParallel(Array.from({ length: nodes }), AT_ONCE, async (_, node) => {
    const limit = AbortSignal.any([signal, AbortSignal.timeout(PULL_WITHIN)]);
    return runtime.pull(node, wares, limit).then(
      () => 0,
      () => 1,
    );
  });
  signal.throwIfAborted();
  return failed.reduce<number>((sum, each) => sum + each, 0);
}

/** Waits until the machine rests, but not for ever: others may work on it. */
export async function calm(signal: AbortSignal): Promise<void> {
  const deadline = performance.now() + CALM_WITHIN;
  for (let before = await cpuTimes(); performance.now() < deadline;) {
    await delay(LOOK, undefined, { signal });
    const now = await cpuTimes();
    if (busyShare(before, now) < CALM) return;
    before = now;
  }
}
