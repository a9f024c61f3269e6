import assert from 'node:assert/strict';
import { LoopbackNetwork } from '../../../../bench/crowd/network.ts';
import type { NodePlan } from '../../../../bench/crowd/plan.ts';
import { describeFailure, pullAll, type Pulled } from '../../../../bench/crowd/pulls.ts';
import type { RunningRuntime } from '../../../../bench/crowd/runtimes/runtime.ts';
import type { Wares } from '../../../../bench/crowd/scene.ts';
import type { RunningSystem } from '../../../../bench/crowd/systems/system.ts';

const node: NodePlan = { name: 'a', zone: '', wave: 0, delay: 0, isSlow: false, dies: undefined };

interface Course {
  readonly plan: readonly NodePlan[];
  readonly pull: (node: number, signal: AbortSignal, onFallback: (reason: string) => void) => Promise<void>;
  readonly limit?: number;
  readonly signal?: AbortSignal;
}

async function pull({ plan, pull: work, limit = 60_000, signal }: Course): Promise<{
  readonly pulled: readonly Pulled[];
  readonly killed: readonly number[];
}> {
  const killed: number[] = [];
  const kill = async (index: number): Promise<void> => void killed.push(index);
  const runtime = {
    kill,
    pull: async (
      index: number,
      _: Wares,
      ended: AbortSignal,
      onFallback: (reason: string) => void = () => undefined,
    ) => {
      await work(index, ended, onFallback);
      return { firstByteSeconds: 1 };
    },
  } as Partial<RunningRuntime> as RunningRuntime;
  const nothing = { kill } as Partial<RunningSystem> as RunningSystem;
  const [place] = new LoopbackNetwork(1).nodes;
  const pulled = await pullAll({
    wares: {} as Wares,
    members: plan.map((each) => ({ plan: each, place: place as NonNullable<typeof place> })),
    runtime,
    system: nothing,
    limit,
    begin: performance.now(),
    signal: signal ?? new AbortController().signal,
  });
  return { pulled, killed };
}

/** A pull that only its signal ends. */
function hang(signal: AbortSignal): Promise<void> {
  const { promise, reject } = Promise.withResolvers<void>();
  signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
  return promise;
}

describe('bench/crowd/pulls', () => {
  it('begins a wave when all pulls of the wave before have ended, failed ones too', async () => {
    const events: string[] = [];
    const plan = [node, node, { ...node, wave: 1 }];
    const { pulled } = await pull({
      plan,
      pull: async (index) => {
        events.push(`${index} begins`);
        await new Promise((resolve) => void setImmediate(resolve));
        events.push(`${index} ends`);
        if (index === 1) throw new Error('no');
      },
    });
    assert.equal(events.indexOf('2 begins'), 4);
    assert.deepEqual(
      pulled.map(({ failure }) => failure),
      [undefined, 'no', undefined],
    );
    assert.ok(pulled[1]?.completed === null && pulled[1].ended > 0);
  });

  it('kills the system and the runtime of a node by plan, which is no failure', async () => {
    const { pulled, killed } = await pull({
      plan: [{ ...node, dies: 1 }, node],
      pull: (index, signal) => (index === 0 ? hang(signal) : Promise.resolve()),
    });
    assert.deepEqual(killed, [0, 0]);
    assert.equal(pulled[0]?.failure, undefined);
    assert.equal(pulled[0]?.completed, null);
    assert.notEqual(pulled[1]?.completed, null);
  });

  it('ends a pull that takes too long, and says so', async () => {
    const { pulled } = await pull({ plan: [node], limit: 1, pull: (_, signal) => hang(signal) });
    assert.match(pulled[0]?.failure ?? '', /had not ended after 0 s/);
  });

  it('tells why a runtime went past its mirror, even if the pull failed', async () => {
    const { pulled } = await pull({
      plan: [node, node],
      pull: async (index, _, onFallback) => {
        onFallback(`reason ${index}`);
        if (index === 1) throw new Error('no');
      },
    });
    assert.deepEqual(
      pulled.map(({ fallbacks }) => fallbacks),
      [['reason 0'], ['reason 1']],
    );
  });

  it('stops when its signal is aborted', async () => {
    const stop = new AbortController();
    const course = pull({
      plan: [node],
      signal: stop.signal,
      pull: (_, signal) => {
        queueMicrotask(() => stop.abort(new Error('stopped')));
        return hang(signal);
      },
    });
    await assert.rejects(course, /stopped/);
  });

  it('tells a reason in one line, with its causes', () => {
    const error = new Error('the pull broke:\n  here', { cause: new Error('connect ECONNREFUSED') });
    assert.equal(describeFailure(error), 'the pull broke:; here: connect ECONNREFUSED');
  });
});
