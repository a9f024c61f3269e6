/** The life of the nodes: each pulls images at random, and those that do not stay leave and start again. */
import { setTimeout as delay } from 'node:timers/promises';
import { pullImage } from '../../src/cli/client/pull-image.ts';
import { SECOND } from '../../src/util/clock.ts';
import { parseImageReference } from '../../src/oci/reference.ts';
import type { WeirNode } from '../../test/support/weir.ts';
import { describeFailure } from '../crowd/pulls.ts';
import type { SeededRandom } from '../../test/simulator/random.ts';
import type { ChurnSettings } from './options.ts';
import type { Zipf } from './zipf.ts';

export interface Tally {
  /** Seconds of each pull that arrived. */
  readonly pulls: number[];
  /** Pulls that ended because their node left. */
  cut: number;
  leaves: number;
  kills: number;
  readonly failures: { readonly node: string; readonly reason: string }[];
}

export interface Life {
  readonly settings: ChurnSettings;
  readonly zipf: Zipf;
  /** Names of the images. */
  readonly images: readonly string[];
  readonly tally: Tally;
  /** The nodes live until it is aborted. */
  readonly signal: AbortSignal;
}

/** A node that never leaves. */
export async function stay(life: Life, node: WeirNode, name: string, random: SeededRandom): Promise<void> {
  await pullOn(life, node, name, random, life.signal);
}

/** A node that comes and goes: half of the times it ends by SIGTERM, else it is killed. */
export async function comeAndGo(
  life: Life,
  node: WeirNode,
  name: string,
  random: SeededRandom,
): Promise<void> {
  const { settings, tally, signal } = life;
  while (!signal.aborted) {
    const leaving = new AbortController();
    const joined = AbortSignal.any([signal, leaving.signal]);
    const pulling = pullOn(life, node, name, random, joined);
    await pause(around(settings.stay, random), signal);
    leaving.abort(new Error('the node left'));
    await pulling;
    if (signal.aborted) return;
    tally.leaves += 1;
    if (random.next() < 0.5) {
      tally.kills += 1;
      await node.kill();
    } else await node.terminate();
    await pause(around(settings.away, random), signal);
    await node.restart();
  }
}

async function pullOn(
  { settings, zipf, images, tally }: Life,
  node: WeirNode,
  name: string,
  random: SeededRandom,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    await pause(around(settings.pullEvery, random), signal);
    if (signal.aborted) return;
    const reference = parseImageReference(images[zipf.pick(random.next())] ?? '');
    const began = performance.now();
    try {
      const registries = new Map([[reference.repository.registry, { plainHttp: true }]]);
      await pullImage({ image: reference, mirror: new URL(node.url), registries, signal });
      tally.pulls.push((performance.now() - began) / SECOND);
    } catch (error) {
      if (signal.aborted) tally.cut += 1;
      else tally.failures.push({ node: name, reason: describeFailure(error) });
    }
  }
}

/** From half to one and a half times `mean`. */
function around(mean: number, random: SeededRandom): number {
  return mean * (0.5 + random.next());
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal }).catch(() => undefined);
}
