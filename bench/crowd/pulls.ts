/** The pulls of one turn, in waves, with the planned deaths. */
import { setTimeout as delay } from 'node:timers/promises';
import { SECOND } from '../../src/util/clock.ts';
import { describeError } from '../../src/cli/exit-codes.ts';
import type { RunningRuntime } from './runtimes/runtime.ts';
import type { Member, Wares } from './scene.ts';
import type { RunningSystem } from './systems/system.ts';

export interface Pulled {
  /** Seconds from the common start; null: it did not start. */
  readonly started: number | null;
  /** Seconds from the common start until the image was whole and right; null: it never was. */
  readonly completed: number | null;
  /** Seconds from the common start until its pull ended, with any result. */
  readonly ended: number;
  /** Seconds from its own start. */
  readonly firstByte: number | null;
  /** undefined if it arrived, or was not to arrive. */
  readonly failure: string | undefined;
  /** Reasons for requests past the mirror, in order; empty if the runtime does not tell them. */
  readonly fallbacks: readonly string[];
}

export interface PullsOptions {
  readonly members: readonly Member[];
  readonly wares: Wares;
  readonly runtime: RunningRuntime;
  readonly system: RunningSystem;
  /** Milliseconds that a pull may take. */
  readonly limit: number;
  /** The common start, by performance.now(). */
  readonly begin: number;
  readonly signal: AbortSignal;
}

export async function pullAll(options: PullsOptions): Promise<readonly Pulled[]> {
  const { members, signal } = options;
  const results: Pulled[] = [];
  const waves = Math.max(...members.map(({ plan }) => plan.wave));
  for (let wave = 0; wave <= waves; wave++) {
    const pulls = members.map(async (member, index) => {
      if (member.plan.wave === wave) results[index] = await pullOne(options, member, index);
    });
    await Promise.all(pulls);
    signal.throwIfAborted();
  }
  return results;
}

async function pullOne(
  { wares, runtime, system, limit, begin, signal }: PullsOptions,
  { plan }: Member,
  index: number,
): Promise<Pulled> {
  await delay(plan.delay, undefined, { signal });
  const seconds = (): number => (performance.now() - begin) / SECOND;
  const started = seconds();
  const fallbacks: string[] = [];
  const dead = new AbortController();
  const timeout = AbortSignal.timeout(Math.ceil(limit));
  const death = plan.dies === undefined ? undefined : setTimeout(() => void die(), plan.dies);
  const die = async (): Promise<void> => {
    dead.abort(new Error('the node died, as planned'));
    await Promise.all([system.kill(index), runtime.kill(index)]);
  };
  try {
    const limits = AbortSignal.any([signal, dead.signal, timeout]);
    const pulled = await runtime.pull(index, wares, limits, (reason) => fallbacks.push(reason));
    const ended = seconds();
    const firstByte = pulled.firstByteSeconds;
    return { started, completed: ended, ended, firstByte, failure: undefined, fallbacks };
  } catch (error) {
    signal.throwIfAborted();
    const failed = { started, completed: null, ended: seconds(), firstByte: null, fallbacks };
    if (dead.signal.aborted) return { ...failed, failure: undefined };
    return { ...failed, failure: timeout.aborted ? tooLate(limit) : describeFailure(error) };
  } finally {
    clearTimeout(death);
  }
}

/** @param limit milliseconds */
function tooLate(limit: number): string {
  return `it had not ended after ${Math.round(limit / SECOND)} s`;
}

/** The error in one line. */
export function describeFailure(error: unknown): string {
  return describeError(error)
    .replace(/^weir: /, '')
    .replaceAll(/\s*\n\s*/g, '; ');
}
