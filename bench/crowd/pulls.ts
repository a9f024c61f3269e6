/** The pulls of one turn: begun as planned, in waves, with the deaths that are planned. */
import { setTimeout as delay } from 'node:timers/promises';
import { describeError } from '../../src/cli/exit-codes.ts';
import { isWaitedFor } from './plan.ts';
import type { Runtime } from './runtime.ts';
import type { Member } from './scene.ts';
import type { RunningSystem } from './systems/system.ts';

export interface Pulled {
  /** Seconds from the common start; null: it did not start. */
  readonly started: number | null;
  readonly completed: number | null;
  readonly firstByte: number | null;
  /** undefined where it arrived, or was not to arrive. */
  readonly failure: string | undefined;
}

export interface PullsOptions {
  readonly members: readonly Member[];
  readonly runtime: Runtime;
  readonly system: RunningSystem;
  /** Milliseconds that a pull may take. */
  readonly limit: number;
  readonly signal: AbortSignal;
}

export async function pullAll(options: PullsOptions): Promise<readonly Pulled[]> {
  const { members, signal } = options;
  const begin = performance.now();
  const results: Pulled[] = [];
  const waves = Math.max(...members.map(({ plan }) => plan.wave));
  for (let wave = 0; wave <= waves; wave++) {
    const pulls = members.map(async (member, index) => {
      if (member.plan.wave === wave) results[index] = await pullOne(options, member, index, begin);
    });
    await Promise.all(pulls);
    signal.throwIfAborted();
  }
  return results;
}

async function pullOne(
  { runtime, system, limit, signal }: PullsOptions,
  { plan }: Member,
  index: number,
  begin: number,
): Promise<Pulled> {
  await delay(plan.delay, undefined, { signal });
  const seconds = (): number => (performance.now() - begin) / 1000;
  const started = seconds();
  const dead = new AbortController();
  const timeout = AbortSignal.timeout(Math.ceil(limit));
  const death = plan.dies === undefined ? undefined : setTimeout(() => void die(), plan.dies);
  const die = async (): Promise<void> => {
    dead.abort(new Error('the node died, as planned'));
    await system.kill(index);
  };
  try {
    const pulled = await runtime.pull(index, AbortSignal.any([signal, dead.signal, timeout]));
    return { started, completed: seconds(), firstByte: pulled.firstByteSeconds, failure: undefined };
  } catch (error) {
    signal.throwIfAborted();
    const failed = { started, completed: null, firstByte: null };
    if (dead.signal.aborted) return { ...failed, failure: undefined };
    const late = `it had not ended after ${Math.round(limit / 1000)} s`;
    return { ...failed, failure: timeout.aborted ? late : describeError(error).replace(/^weir: /, '') };
  } finally {
    clearTimeout(death);
  }
}

/** Whether the makespan and the times count this node. */
export function counts({ plan }: Member, { completed }: Pulled): boolean {
  return isWaitedFor(plan) && completed !== null;
}
