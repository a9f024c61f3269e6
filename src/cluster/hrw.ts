/**
 * Which member owns a key, without asking anybody: rendezvous hashing, highest random weight first (Thaler and
 * Ravishankar, 1998). If a member comes or goes, only the keys that it owns change hands.
 */
import type { PeerId } from '../protocol/peer-id.ts';

/** One of a set of members. Weights are kept for the array: all users of the same array share them. */
export interface Candidate {
  readonly peer: PeerId;
}

const FNV_OFFSET = 0x811c9dc5;
const FNV_PRIME = 0x01000193;

/** FNV-1a, 32 bit, then mixed: peer IDs may differ in a few last bits only. */
export function hashText(text: string): number {
  let hash = FNV_OFFSET;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), FNV_PRIME);
  return mix(hash);
}

/** The finalizer of MurmurHash3: every bit of the input changes half of the output's. */
export function mix(value: number): number {
  let hash = value;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** Key of a chunk of a blob whose key is `blob`. */
export function chunkKey(blob: number, index: number): number {
  return mix(blob ^ Math.imul(index + 1, 0x9e3779b1));
}

/** The expected share of all members that come before this hash in the order of `key`, 0 to 1. */
export function shareBefore(hash: number, key: number): number {
  return 1 - mix(hash ^ key) / 2 ** 32;
}

/** Rankings that are kept for one set of members: far more than the blobs pulled at a time need. */
const MAX_RANKINGS = 8192;
/** Ranks up to which members are inserted one by one: for more it is quicker to sort all. */
const MAX_INSERTED = 32;
/** Ranks that a key of {@link Known.rankings} tells apart. */
const MAX_COUNT = 2 ** 16;

/** What has been computed for one array of members. All users of the array share it; it lives as long as the array. */
interface Known<T extends Candidate> {
  /** Of the peer IDs. */
  readonly hashes: Uint32Array;
  /** By key and count. */
  readonly rankings: Map<number, readonly T[]>;
}

const known: WeakMap<readonly Candidate[], Known<Candidate>> = new WeakMap();

function knownOf<T extends Candidate>(members: readonly T[]): Known<T> {
  let found = known.get(members) as Known<T> | undefined;
  if (found === undefined) {
    found = { hashes: Uint32Array.from(members, ({ peer }) => hashText(peer)), rankings: new Map() };
    known.set(members, found);
  }
  return found;
}

/** The first `count` members for `key`: the owner, then its backup owners. */
export function rank<T extends Candidate>(members: readonly T[], key: number, count: number): readonly T[] {
  const { hashes, rankings } = knownOf(members);
  const id = key * MAX_COUNT + count;
  let ranked = rankings.get(id);
  if (ranked === undefined) {
    ranked = highest(hashes, key, count).map((index) => members[index] as T);
    if (rankings.size >= MAX_RANKINGS) rankings.clear();
    rankings.set(id, ranked);
  }
  return ranked;
}

/** Indices of the hashes whose weights for `key` are highest, in that order. */
function highest(hashes: Uint32Array, key: number, count: number): readonly number[] {
  if (count > MAX_INSERTED) {
    const all = Float64Array.from(hashes, (hash) => mix(hash ^ key));
    return Array.from(all.keys())
      .sort((a, b) => (all[b] ?? 0) - (all[a] ?? 0) || a - b)
      .slice(0, count);
  }
  const best: number[] = [];
  const weights: number[] = [];
  for (let i = 0; i < hashes.length; i++) {
    const weight = mix((hashes[i] ?? 0) ^ key);
    if (best.length === count && weight <= (weights[count - 1] ?? 0)) continue;
    let at = best.length;
    while (at > 0 && weight > (weights[at - 1] ?? 0)) at--;
    best.splice(at, 0, i);
    weights.splice(at, 0, weight);
    if (best.length > count) {
      best.pop();
      weights.pop();
    }
  }
  return best;
}
