/**
 * The time limit of a request's first byte. A blob that comes from peers too gets more time.
 *
 * A pull is a chain of requests: waiting the full time for each of them would add up. After a request waited in vain for a
 * registry, the next requests for that registry get little time. The runtime then asks it directly.
 *
 * Time is counted in ticks. If all cores of the machine were taken, a tick that came late counts as one that was on time:
 * bytes that arrived meanwhile have not been looked at yet. A runtime that was sent to the registry then would only add
 * to the load, and in a crowd all runtimes would be sent at once.
 */
import { MILLISECOND, SECOND, type Clock } from '../util/clock.ts';
import { LRUCache } from 'lru-cache';
import type { Digest } from '../oci/digest.ts';
import type { RegistryHost } from '../oci/repository.ts';

/** Longest tick in milliseconds. */
const MAX_TICK = 250 * MILLISECOND;
/** Ticks in the first wait, at least. */
const MIN_TICKS = 4;
/**
 * Milliseconds for a first byte while bytes of the blob, or of blobs that take turns with it, are arriving. In a crowd
 * chunks arrive in any order, and a runtime that is sent away costs the registry the whole blob.
 */
const ARRIVING_TIMEOUT = 20 * SECOND;
/** A blob is arriving if its last byte or message came within so many milliseconds. */
const ARRIVING_WITHIN = 2.5 * SECOND;
/**
 * The same in milliseconds if peers pull the blob too, or have it: as long as for a stall in mid-blob. Otherwise all
 * runtimes would be sent to the registry just when the registry or the nodes are at their limit.
 */
const SHARED_ARRIVING_WITHIN = 10 * SECOND;
/** Milliseconds by the clock, however much this node is held up. containerd gives a pull up after 5 minutes. */
const LONGEST = 60 * SECOND;
/** If a wait takes so many times longer than its ticks, it is this node that is slow, and not the registry. */
const HELD_UP = 2;

export interface Waited {
  /** This node was short of CPU meanwhile. */
  readonly isHeldUp: boolean;
}

export interface FirstByteTimeoutOptions {
  readonly clock: Clock;
  /** Milliseconds. */
  readonly wait: number;
  /** It is for bytes behind the first of a blob that is arriving: their turn comes, however many are before them. */
  readonly isAhead: boolean;
  /** Whether peers pull the blob too, or have it. */
  readonly hasPeers: () => boolean;
  /** Whether a byte or a message has come within so many milliseconds. */
  readonly isArriving: (within: number) => boolean;
}

/** Resolves when the wait is over. @throws the signal's reason */
export async function firstByteTimeout(
  options: FirstByteTimeoutOptions,
  signal: AbortSignal,
): Promise<Waited> {
  const { clock, wait, isAhead, hasPeers, isArriving } = options;
  const tick = Math.min(MAX_TICK, wait / MIN_TICKS);
  const began = clock.monotonic();
  for (let ticks = 1; ; ticks++) {
    await clock.sleep(tick, { signal });
    const waited = ticks * tick;
    const took = clock.monotonic() - began;
    const slowness = Math.max(1, took / waited);
    const result = { isHeldUp: slowness > HELD_UP };
    if (isAhead && isArriving(SHARED_ARRIVING_WITHIN * slowness)) continue;
    if (took > LONGEST) return result;
    if (waited < wait) continue;
    const isShared = hasPeers();
    const within = isShared ? SHARED_ARRIVING_WITHIN : ARRIVING_WITHIN;
    // If this node is short of CPU, so perhaps are its peers, which began at the same moment.
    const most = Math.max(wait, ARRIVING_TIMEOUT) * (isShared ? slowness : 1);
    if (waited > most || !isArriving(within * slowness)) return result;
  }
}

/** The time limit in milliseconds while the breaker of a registry is open. */
const SHORT_WAIT = 250 * MILLISECOND;
/** Milliseconds for which waits in vain count. */
const IN_VAIN_COUNTS = 10 * SECOND;
/** Blobs that must have been waited for in vain: one speaks for itself alone, or for the storage that it is in. */
const OPENED_BY_BLOBS = 2;
const MAX_REGISTRIES = 1_000;

export interface FirstByteLimits {
  /** Milliseconds, for clients that go to the registry by themselves. */
  readonly firstByteTimeout: number;
  /** Milliseconds, for clients that would fail the pull instead. */
  readonly patientTimeout: number;
  readonly clock: Clock;
}

/** The time limit of each registry: a short one after a manifest, or two blobs, were waited for in vain. */
export class RegistryTimeouts {
  readonly #options: FirstByteLimits;
  /** By registry, the blobs that were waited for in vain lately; `all` if it was anything else. */
  readonly #inVain: LRUCache<RegistryHost, ReadonlySet<Digest> | 'all'>;

  constructor(options: FirstByteLimits) {
    this.#options = options;
    const perf = { now: (): number => options.clock.monotonic() };
    this.#inVain = new LRUCache({ max: MAX_REGISTRIES, ttl: IN_VAIN_COUNTS, perf });
  }

  /** Milliseconds until the first byte, at most. @param byPath the client cannot fall back to the registry for a blob */
  for(registry: RegistryHost, byPath: boolean): number {
    if (byPath) return this.#options.patientTimeout;
    const inVain = this.#inVain.get(registry);
    const isOpen = inVain === 'all' || (inVain?.size ?? 0) >= OPENED_BY_BLOBS;
    return isOpen ? SHORT_WAIT : this.#options.firstByteTimeout;
  }

  /** A request waited in vain. @param blob undefined if it was for anything else */
  lost(registry: RegistryHost, blob: Digest | undefined): void {
    const before = this.#inVain.get(registry);
    if (blob === undefined || before === 'all') this.#inVain.set(registry, 'all');
    else this.#inVain.set(registry, new Set([...(before ?? []), blob].slice(-OPENED_BY_BLOBS)));
  }

  /** The registry answered. */
  restored(registry: RegistryHost): void {
    this.#inVain.delete(registry);
  }
}
