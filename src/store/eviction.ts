/** Plans what to evict. It is pure, so that the daemon, property tests and the simulator can share it. */

export interface EvictionCandidate<K> {
  readonly key: K;
  /** Bytes that its removal frees. */
  readonly bytes: number;
  /** Milliseconds since the epoch. */
  readonly lastUsed: number;
  /** Being read or written, or to be kept: never evicted. */
  readonly pinned: boolean;
}

/**
 * The keys to remove, least recently used first, so that at least `bytes` are freed. Undefined if even all candidates
 * that are not pinned would not do: then nothing must be lost in vain.
 */
export function planEviction<K>(
  candidates: Iterable<EvictionCandidate<K>>,
  bytes: number,
): readonly K[] | undefined {
  const { keys, freed } = planShrink(candidates, bytes);
  return freed >= bytes ? keys : undefined;
}

/** The same, but as much as there is if that does not do. `freed` are the bytes that the removal frees. */
export function planShrink<K>(
  candidates: Iterable<EvictionCandidate<K>>,
  bytes: number,
): { readonly keys: readonly K[]; readonly freed: number } {
  const keys: K[] = [];
  let freed = 0;
  if (bytes <= 0) return { keys, freed };
  const free = [...candidates].filter((candidate) => !candidate.pinned);
  free.sort((a, b) => a.lastUsed - b.lastUsed);
  for (const candidate of free) {
    if (freed >= bytes) break;
    keys.push(candidate.key);
    freed += candidate.bytes;
  }
  return { keys, freed };
}
