/**
 * Before a turn is measured: all nodes pull a small image, a few at a time, then as many large ones as `--pulled` says,
 * all at once, and then rest. A node of a cluster has pulled before. A Node.js process compiles its code at its first
 * pull, half a second of CPU for each. With dozens of nodes on two cores that would be most of the measured time.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { MINUTE, SECOND } from '../../src/util/clock.ts';
import { busyShare, cpuTimes } from '../support/cpu-share.ts';
import { inParallel } from '../support/parallel.ts';
import type { RunningRuntime } from './runtimes/runtime.ts';
import type { Scene, Wares } from './scene.ts';

/** Nodes that pull at a time: enough to pull from each other. */
const AT_ONCE = 4;
const PULL_WITHIN = MINUTE;
/** Share of all cores below which the machine rests. */
const CALM = 0.3;
/** Milliseconds over which it must rest, and for which that is awaited. */
const LOOK = 2 * SECOND;
const CALM_WITHIN = 30 * SECOND;

/**
 * A failure here says nothing about the turn, in which it would occur too.
 * @param longest milliseconds that a large image may take: as long as the measured one
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

/** Waits until the machine rests, but not for ever: it may have other work. */
export async function calm(signal: AbortSignal): Promise<void> {
  const deadline = performance.now() + CALM_WITHIN;
  for (let before = await cpuTimes(); performance.now() < deadline;) {
    await delay(LOOK, undefined, { signal });
    const now = await cpuTimes();
    if (busyShare(before, now) < CALM) return;
    before = now;
  }
}
