/**
 * Whether a quantity that goes up and down keeps growing. Pure.
 *
 * Only the second half of the samples counts: the first is a warm-up. Two tests must agree: Mann-Kendall's, that
 * later values are higher more often than chance makes them, and Theil-Sen's slope, the median of all pairs' slopes,
 * which a few outliers do not move, that the growth is worth naming.
 */

export type Sample = readonly [seconds: number, value: number];

export type Verdict = 'steady' | 'grows' | 'too short';

export interface Trend {
  readonly verdict: Verdict;
  /** Theil-Sen's slope, per second. */
  readonly slope: number;
  /** Growth by that slope over the second half, as a share of its median. */
  readonly growth: number;
  /** Mann-Kendall's statistic in standard deviations; above 0: upwards. */
  readonly z: number;
}

/** Fewer samples say nothing. */
export const MIN_SAMPLES = 20;
/** Samples that are compared: each with each, so more of them only take longer. */
const MAX_SAMPLES = 300;
/** One-sided, 1 in 1,000 by chance if samples are independent; those of a process are not quite. */
const MIN_Z = 3.09;
/** Growth over the second half below which nobody would act. */
const MIN_GROWTH = 0.05;

export function trendOf(samples: readonly Sample[]): Trend {
  const half = thinOut(samples.slice(Math.floor(samples.length / 2)));
  if (half.length < MIN_SAMPLES) return { verdict: 'too short', slope: 0, growth: 0, z: 0 };
  const slope = theilSen(half);
  const z = mannKendall(half.map(([, value]) => value));
  const [first, last] = [half[0]?.[0] ?? 0, half.at(-1)?.[0] ?? 0];
  const typical = medianOf(half.map(([, value]) => value));
  const growth = typical === 0 ? 0 : (slope * (last - first)) / typical;
  return { verdict: z > MIN_Z && growth > MIN_GROWTH ? 'grows' : 'steady', slope, growth, z };
}

/** The measures that grow, and those with too few samples to tell. */
export function judge<Measure extends string>(
  measures: readonly Measure[],
  trends: Readonly<Record<Measure, Trend>>,
): { readonly growing: readonly Measure[]; readonly unknown: readonly Measure[] } {
  const named = (verdict: Verdict): readonly Measure[] =>
    measures.filter((measure) => trends[measure].verdict === verdict);
  return { growing: named('grows'), unknown: named('too short') };
}

/** Median of the slopes of all pairs. */
function theilSen(samples: readonly Sample[]): number {
  const slopes: number[] = [];
  for (const [index, [x, y]] of samples.entries()) {
    for (const [laterX, laterY] of samples.slice(index + 1)) {
      if (laterX > x) slopes.push((laterY - y) / (laterX - x));
    }
  }
  return slopes.length === 0 ? 0 : medianOf(slopes);
}

/** Mann-Kendall's S over its standard deviation, corrected for equal values and for continuity. */
function mannKendall(values: readonly number[]): number {
  const n = values.length;
  let s = 0;
  for (const [index, value] of values.entries()) {
    for (const later of values.slice(index + 1)) s += Math.sign(later - value);
  }
  const counts = new Map<number, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  const weight = (count: number): number => count * (count - 1) * (2 * count + 5);
  const ties = counts.values().reduce((sum, count) => sum + weight(count), 0);
  const variance = (weight(n) - ties) / 18;
  return variance <= 0 ? 0 : (s - Math.sign(s)) / Math.sqrt(variance);
}

function medianOf(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? 0;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? 0)) / 2;
}

function thinOut(samples: readonly Sample[]): readonly Sample[] {
  const step = Math.ceil(samples.length / MAX_SAMPLES);
  return samples.filter((_, index) => index % step === 0);
}
