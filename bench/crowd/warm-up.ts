/**
 * Before a turn is measured: all nodes pull a small image, a few at a time, then with `--pulled` as many large ones all
 * at once, and then rest. A node of a cluster has pulled before; a Node.js process that does so for the first time
 * compiles its code meanwhile, half a second of CPU for each, and where dozens share two cores that would be most of
 * what is measured.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { MINUTE, SECOND } from '../../src/util/clock.ts';
import { busyShare, cpuTimes } from '../support/cpu-share.ts';
import { inParallel } from '../support/parallel.ts';
import type { RunningRuntime } from './runtimes/runtime.ts';
import type { Scene, Wares } from './scene.ts';

/** Nodes that pull at one time: enough to pull from each other. */
const AT_ONCE = 4;
const PULL_WITHIN = MINUTE;
/** Of all cores: a machine that does no more rests. */
const CALM = 0.3;
/** Milliseconds over which that is seen, and that it is waited for. */
const LOOK = 2 * SECOND;
const CALM_WITHIN = 30 * SECOND;

/**
 * What fails here says nothing about the turn, where it would fail too.
 * @param longest milliseconds that a large image may take: as long as what is measured
 * @returns how many pulls failed
 */
export async function warmUp(
  { warmUp: [small, ...large], signal }: Scene,
  runtime: RunningRuntime,
  nodes: number,
  longest: number,
): Promise<number> {
  const all = (wares: Wares, atOnce: number, within: number): Promise<readonly boolean[]> =>
    inParallel(Array.from({ length: nodes }), atOnce, async (_, node) => {
      const limit = AbortSignal.any([signal, AbortSignal.timeout(within)]);
      return runtime.pull(node, wares, limit).then(
        () => false,
        () => true,
      );
    });
  const failed = [...(await all(small, AT_ONCE, PULL_WITHIN))];
  for (const wares of large) failed.push(...(await all(wares, nodes, longest)));
  signal.throwIfAborted();
  return failed.filter(Boolean).length;
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
