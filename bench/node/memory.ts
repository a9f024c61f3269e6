/** Resident memory of a fresh node: idle, at its highest while it pulls and serves, and idle again. */
import { MIB, SECOND, systemClock } from '../../src/util/clock.ts';
import { peakResidentBytes, residentBytes, resetPeak } from '../support/process-usage.ts';
import { spread, type Spread } from '../../test/simulator/stats.ts';
import { imageReference, PARALLEL_BLOBS } from './content.ts';
import { pull } from './pull.ts';
import { startNode, type Scene } from './scene.ts';

/** MiB, each. */
export interface MemoryFigures {
  readonly idle: Spread;
  /** The highest value during the parallel cold pulls. */
  readonly cold: Spread;
  /** The highest value during the parallel reads of the same blobs from the store. */
  readonly warm: Spread;
  readonly idleAgain: Spread;
}

type Round = Record<keyof MemoryFigures, number>;

/** Milliseconds between two samples. */
const LOOK_EVERY = SECOND / 2;
/** Milliseconds without a new low after which memory counts as settled. */
const SETTLED_AFTER = 5 * SECOND;
/** Milliseconds after which memory counts as settled in any case. */
const SETTLE_LIMIT = 60 * SECOND;
/** Bytes by which a new low must be below the last. */
const NEW_LOW = MIB / 4;

export async function measureMemory(scene: Scene): Promise<MemoryFigures> {
  const rounds: Round[] = [];
  for (let turn = 1; turn <= scene.repeat; turn++) {
    const round = await takeRound(scene);
    const { idle, cold, warm, idleAgain } = round;
    const figures = [idle, cold, warm, idleAgain].map(Math.round).join(', ');
    scene.say(`resident memory: ${figures} MiB (idle, cold pulls, warm reads, idle again)`);
    rounds.push(round);
  }
  const of = (key: keyof Round): Spread => spread(rounds.map((round) => round[key]));
  return { idle: of('idle'), cold: of('cold'), warm: of('warm'), idleAgain: of('idleAgain') };
}

async function takeRound({ program, registry, content, scratch, signal }: Scene): Promise<Round> {
  await using node = await startNode(program, registry);
  const { pid } = node;
  const image = imageReference(registry.host, content.parallel);
  const peakOf = async (source: 'upstream' | 'store'): Promise<number> => {
    await scratch.settle();
    await resetPeak(pid);
    await pull(image, { node, source, concurrency: PARALLEL_BLOBS, signal });
    return (await peakResidentBytes(pid)) / MIB;
  };
  return {
    idle: await settledBytes(pid, signal),
    cold: await peakOf('upstream'),
    warm: await peakOf('store'),
    idleAgain: await settledBytes(pid, signal),
  };
}

/** MiB, once memory has stopped falling: freed memory goes back to the system some time later. */
async function settledBytes(pid: number, signal: AbortSignal): Promise<number> {
  const started = systemClock.monotonic();
  let lowest = Infinity;
  let since = started;
  for (;;) {
    const now = systemClock.monotonic();
    const bytes = await residentBytes(pid);
    if (bytes < lowest - NEW_LOW) {
      lowest = bytes;
      since = now;
    }
    if (now - since >= SETTLED_AFTER || now - started >= SETTLE_LIMIT) return bytes / MIB;
    await systemClock.sleep(LOOK_EVERY, { signal });
  }
}
