/**
 * Delay of a running node's event loop, through its inspector: /metrics has no percentiles of it, as the timer that they
 * need wakes an idle node a hundred times a second (src/daemon/metrics.ts). Here it runs while it is asked for.
 */
import type { Percentiles } from '../../test/simulator/stats.ts';
import { Inspector } from './inspector.ts';

/** Milliseconds between two looks of the timer. A shorter one costs the loop more than it tells. */
const RESOLUTION = 2;
const HISTOGRAM = "globalThis[Symbol.for('weir bench loop delay')]";
const START = `
  ${HISTOGRAM} = process.getBuiltinModule('node:perf_hooks')
    .monitorEventLoopDelay({ resolution: ${RESOLUTION} });
  ${HISTOGRAM}.enable()`;
const STOP = `
  ${HISTOGRAM}.disable();
  [${HISTOGRAM}.count, ${HISTOGRAM}.percentile(50), ${HISTOGRAM}.percentile(99), ${HISTOGRAM}.max]`;

const NANOSECONDS_PER_MILLISECOND = 1e6;

export class LoopDelay implements Disposable {
  readonly #inspector: Inspector;

  private constructor(inspector: Inspector) {
    this.#inspector = inspector;
  }

  /** @param log the output of a process that was started with INSPECT */
  static async start(log: string): Promise<LoopDelay> {
    const delay = new LoopDelay(await Inspector.connect(log));
    await delay.#inspector.evaluate(START);
    return delay;
  }

  /** Milliseconds by which the loop was late since the start. */
  async stop(): Promise<Percentiles> {
    return parseDelay(await this.#inspector.evaluate(STOP), RESOLUTION);
  }

  [Symbol.dispose](): void {
    this.#inspector[Symbol.dispose]();
  }
}

/**
 * @param told count of the looks, then p50, p99 and the most nanoseconds from one look to the next
 * @param resolution milliseconds from one look to the next if nothing delays it
 */
export function parseDelay(told: unknown, resolution: number): Percentiles {
  const numbers = Array.isArray(told) ? told.map(Number) : [];
  const [count = 0, ...times] = numbers;
  const [p50 = Number.NaN, p99 = Number.NaN, max = Number.NaN] = times.map((nanoseconds) =>
    Math.max(0, nanoseconds / NANOSECONDS_PER_MILLISECOND - resolution),
  );
  if (!(count > 0) || ![p50, p99, max].every(Number.isFinite)) {
    throw new Error('the node told no delay of its event loop');
  }
  return { p50, p99, max };
}
