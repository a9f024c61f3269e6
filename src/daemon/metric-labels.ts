/**
 * The values of labels that are known from the start. Prometheus sees no increase in a counter whose first sample is above
 * 0: the first bytes that are wrong, or the first pull, would raise no alert and move no graph.
 */
import type { ServedReport } from '../bytes/peer-serving.ts';
import type { SuspicionReason } from '../cluster/membership.ts';
import type { ByteSource } from '../pull/blob-reader.ts';
import type { FetchReason } from '../swarm/environment.ts';
import type { Refusal } from '../transfer/admission.ts';

export type ContentKind = 'blob' | 'manifest';
export type PrefetchOutcome = 'used' | 'vain';

export const BYTE_SOURCES: readonly ByteSource[] = all<ByteSource>({
  store: true,
  runtime: true,
  upstream: true,
  swarm: true,
  peer: true,
});

/** Of the sources, those that the node has itself. */
export const LOCAL_SOURCES: readonly ByteSource[] = ['store', 'runtime'];

export const CONTENT_KINDS: readonly ContentKind[] = all<ContentKind>({ blob: true, manifest: true });

export const PREFETCH_OUTCOMES: readonly PrefetchOutcome[] = all<PrefetchOutcome>({ used: true, vain: true });

/** Of the results of pulls, those that an operator looks for: the other error codes appear with their first failure. */
export const PULL_RESULTS = ['ok', 'store_full'] as const;

export const SUSPICION_REASONS: readonly SuspicionReason[] = all<SuspicionReason>({
  unreachable: true,
  stalled: true,
  'wrong-bytes': true,
  'wrong-hash': true,
  'broken-promise': true,
  protocol: true,
});

export const FETCH_REASONS: readonly FetchReason[] = all<FetchReason>({
  owner: true,
  claimed: true,
  alone: true,
  rescue: true,
});

export const REFUSALS: readonly Refusal[] = all<Refusal>({
  'no-certificate': true,
  stranger: true,
  banned: true,
  'too-many': true,
});

export const SERVED_KINDS: readonly ServedReport['kind'][] = all<ServedReport['kind']>({
  chunk: true,
  absent: true,
  busy: true,
  retry: true,
  redirect: true,
  unable: true,
  failed: true,
});

/** Each combination of the values of two labels. */
export function pairs<A extends string, B extends string>(
  [a, as]: readonly [A, readonly string[]],
  [b, bs]: readonly [B, readonly string[]],
): readonly Readonly<Record<A | B, string>>[] {
  return as.flatMap((x) => bs.map((y) => ({ [a]: x, [b]: y }) as Record<A | B, string>));
}

/** The names of a table that the compiler holds against the union: none is missing, and none is too many. */
function all<T extends string>(table: Readonly<Record<T, true>>): readonly T[] {
  return Object.keys(table) as T[];
}
