/**
 * Finds which parts of `src/` have run, by V8's counters: inputs that reach new code are worth mutating further.
 * Reading the counters takes about a millisecond, so many inputs share one look.
 */
import { Session } from 'node:inspector/promises';

export class Coverage implements Disposable {
  readonly #session: Session = new Session();
  readonly #seen: Set<string> = new Set();

  static async start(): Promise<Coverage> {
    const coverage = new Coverage();
    coverage.#session.connect();
    await coverage.#session.post('Profiler.enable');
    await coverage.#session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
    return coverage;
  }

  /** Code that ran since the last look, and that was not {@link keep kept} before. */
  async look(): Promise<readonly string[]> {
    const { result } = await this.#session.post('Profiler.takePreciseCoverage');
    const found: string[] = [];
    for (const { url, scriptId, functions } of result) {
      if (!url.includes('/src/')) continue;
      for (const { startOffset, endOffset, count } of functions.flatMap(({ ranges }) => ranges)) {
        const place = `${scriptId}:${startOffset}:${endOffset}`;
        if (count > 0 && !this.#seen.has(place)) found.push(place);
      }
    }
    return found;
  }

  keep(places: readonly string[]): void {
    for (const place of places) this.#seen.add(place);
  }

  get size(): number {
    return this.#seen.size;
  }

  [Symbol.dispose](): void {
    this.#session.disconnect();
  }
}
