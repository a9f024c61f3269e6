/** Chunk indices as runs: pairs of (skipped, present). A blob arrives mostly in order, so there are few runs. */
import { MESSAGE_LIMITS } from './messages.ts';
import { protocolError } from './fields.ts';

export function runsOf(indices: readonly number[]): number[] {
  const runs: number[] = [];
  let next = 0;
  for (const index of new Set([...indices].sort((a, b) => a - b))) {
    const last = runs.length - 1;
    if (last >= 0 && index === next) runs[last] = (runs[last] ?? 0) + 1;
    else runs.push(index - next, 1);
    next = index + 1;
  }
  return runs;
}

/**
 * The indices in ascending order.
 * @throws WeirError `peer_protocol` before it has made more than MESSAGE_LIMITS.indices of them
 */
export function indicesOf(runs: readonly number[]): number[] {
  if (runs.length % 2 !== 0) throw protocolError('runs come in pairs');
  const indices: number[] = [];
  let next = 0;
  for (let i = 0; i < runs.length; i += 2) {
    next += runs[i] ?? 0;
    const count = runs[i + 1] ?? 0;
    if (indices.length + count > MESSAGE_LIMITS.indices || next + count > MESSAGE_LIMITS.chunks) {
      throw protocolError('more chunks than may be told at once');
    }
    for (const end = next + count; next < end; next += 1) indices.push(next);
  }
  return indices;
}
