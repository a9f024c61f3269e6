/** Samples memory, open files and store of each living process while nodes churn. */
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { SECOND } from '../../src/util/clock.ts';
import type { WeirNode } from '../../test/support/weir.ts';
import { residentBytes } from '../support/process-usage.ts';
import type { Sample } from './trend.ts';

export type Measure = 'memory' | 'files' | 'store';
export const MEASURES: readonly Measure[] = ['memory', 'files', 'store'];

/** Means over the nodes, and the highest value of any node. */
export type Series = Readonly<Record<Measure, { readonly mean: Sample[]; readonly most: Sample[] }>>;

export class Watch implements AsyncDisposable {
  readonly series: Series = {
    memory: { mean: [], most: [] },
    files: { mean: [], most: [] },
    store: { mean: [], most: [] },
  };
  readonly #nodes: readonly WeirNode[];
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;

  /** @param every milliseconds between two samples */
  constructor(nodes: readonly WeirNode[], every: number) {
    this.#nodes = nodes;
    this.#running = this.#run(every);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(every: number): Promise<void> {
    const { signal } = this.#stop;
    const began = performance.now();
    while (!signal.aborted) {
      const at = (performance.now() - began) / SECOND;
      const seen = await Promise.all(this.#nodes.map((node) => look(node)));
      for (const measure of MEASURES) {
        const values = seen.map((each) => each[measure]);
        const { mean, most } = this.series[measure];
        mean.push([at, values.reduce((sum, value) => sum + value, 0) / values.length]);
        most.push([at, Math.max(...values)]);
      }
      await delay(every, undefined, { signal }).catch(() => undefined);
    }
  }
}

async function look({ pid, dataFolder }: WeirNode): Promise<Readonly<Record<Measure, number>>> {
  const [memory, files, store] = await Promise.all([
    residentBytes(pid),
    readdir(`/proc/${pid}/fd`).then(({ length }) => length),
    bytesBelow(dataFolder),
  ]);
  return { memory, files, store };
}

/** Bytes of the files in a folder; a file that vanishes meanwhile does not count. */
export async function bytesBelow(folder: string): Promise<number> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  const files = entries.filter((entry) => entry.isFile());
  const sizes = await Promise.all(
    files.map(({ parentPath, name }) =>
      stat(join(parentPath, name)).then(
        ({ size }) => size,
        () => 0,
      ),
    ),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}
