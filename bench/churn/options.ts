/** Settings of `bench churn`, with real nodes and in virtual time. */
import { MIB, MINUTE, SECOND } from '../../src/util/clock.ts';

export interface ChurnSettings {
  readonly nodes: number;
  /** Milliseconds. */
  readonly for: number;
  /** Images in the registry. */
  readonly images: number;
  /** Bytes of the layers of each image. */
  readonly layers: readonly number[];
  /** Bytes of each node's store. */
  readonly quota: number;
  /** Exponent of Zipf's law. */
  readonly zipf: number;
  /** Milliseconds between two pulls of a node, on average. */
  readonly pullEvery: number;
  /** Milliseconds that a node stays, and is away, on average. */
  readonly stay: number;
  readonly away: number;
  readonly seed: number;
}

export const CHURN_DEFAULTS: Omit<ChurnSettings, 'nodes' | 'for' | 'seed'> = {
  images: 40,
  layers: [4, 2, 1].map((size) => size * MIB),
  quota: 64 * MIB,
  zipf: 1,
  pullEvery: 4 * SECOND,
  stay: MINUTE,
  away: 10 * SECOND,
};

/** The first half of the nodes never leave: only in a process that lives on does a leak show. */
export function stayers({ nodes }: ChurnSettings): number {
  return Math.ceil(nodes / 2);
}

/** A contradiction in the settings, for people; undefined if there is none. */
export function contradiction(settings: ChurnSettings): string | undefined {
  const image = settings.layers.reduce((sum, size) => sum + size, 0);
  if (settings.quota >= settings.images * image) {
    return '--quota holds all images, so that it would never be in force';
  }
  if (settings.quota < image) return '--quota does not hold a single image';
  return undefined;
}
