/**
 * Profiles a part of the life of a running Node.js through its inspector (Chrome DevTools Protocol, Profiler).
 * `--cpu-prof` covers a process from its start to its end, so the measured part would drown in its preparation: filling
 * the store takes longer than reading from it.
 */
import type { CpuProfile } from './cpu-profile.ts';
import { Inspector } from './inspector.ts';

/** Microseconds between two samples. */
const INTERVAL = 500;

export class Profiler implements Disposable {
  readonly #inspector: Inspector;

  private constructor(inspector: Inspector) {
    this.#inspector = inspector;
  }

  /** @param log the output of the process */
  static async connect(log: string): Promise<Profiler> {
    const inspector = await Inspector.connect(log);
    await inspector.call('Profiler.enable');
    await inspector.call('Profiler.setSamplingInterval', { interval: INTERVAL });
    return new Profiler(inspector);
  }

  /** The profile of the process until `work` is done. */
  async during(work: () => Promise<void>): Promise<CpuProfile> {
    await this.#inspector.call('Profiler.start');
    await work();
    const { profile } = (await this.#inspector.call('Profiler.stop')) as { profile: CpuProfile };
    return profile;
  }

  [Symbol.dispose](): void {
    this.#inspector[Symbol.dispose]();
  }
}
