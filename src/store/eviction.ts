/** Plans what to evict. It is pure, so that the daemon, property tests and the simulator can share it. */

export interface EvictionCandidate<K> {
  readonly key: K;
  /** Bytes that its removal frees. */
  readonly bytes: number;
  /** Milliseconds since the epoch. */
  readonly lastUsed: number;
  /** Being read or written: never evicted. */
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
  if (bytes <= 0) return [];
  const free = [...candidates].filter((candidate) => !candidate.pinned);
  free.sort((a, b) => a.lastUsed - b.lastUsed);
  const keys: K[] = [];
  let freed = 0;
  for (const candidate of free) {
    if (freed >= bytes) break;
    keys.push(candidate.key);
    freed += candidate.bytes;
  }
  return freed >= bytes ? keys : undefined;
}
