/** Numbers of repeated measurements. Pure. */

/** The values of one repeated measurement. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
  /** In the order in which they were measured. */
  readonly values: readonly number[];
}

/** One quantity measured in turns on a reference and on Weir. */
export interface Pair {
  readonly reference: Spread;
  readonly weir: Spread;
  /** Weir over reference of the same turn, so that a slow minute of the machine falls on both. */
  readonly ratio: Spread;
}

export interface Percentiles {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

/** @throws RangeError without values */
export function spread(values: readonly number[]): Spread {
  return {
    median: percentile(values, 50),
    min: Math.min(...values),
    max: Math.max(...values),
    values,
  };
}

/** @throws RangeError without values, or if one side was measured more often */
export function pair(reference: readonly number[], weir: readonly number[]): Pair {
  if (reference.length !== weir.length) throw new RangeError('the two sides differ in their number');
  const ratios = weir.map((value, index) => value / (reference[index] ?? Number.NaN));
  return { reference: spread(reference), weir: spread(weir), ratio: spread(ratios) };
}

export function percentiles(values: readonly number[]): Percentiles {
  return { p50: percentile(values, 50), p99: percentile(values, 99), max: Math.max(...values) };
}

/**
 * Linear between the two nearest ranks, so that the median of two values is their mean.
 * @param percent 0 to 100
 * @throws RangeError without values
 */
export function percentile(values: readonly number[], percent: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const rank = (percent / 100) * (sorted.length - 1);
  const below = sorted[Math.floor(rank)];
  const above = sorted[Math.ceil(rank)];
  if (below === undefined || above === undefined) throw new RangeError('no values');
  return below + (above - below) * (rank - Math.floor(rank));
}
