/**
 * How long a request may wait for its first byte: as long as its registry is given, and longer for a blob that comes from
 * peers too.
 *
 * A pull is a chain of requests, and waiting the full time for each of them would add up. So a registry that has made one
 * request wait in vain gets little time for the next ones: the runtime then asks it directly.
 *
 * Time is counted in ticks. Where this node itself was held up, as all cores of the machine were taken, a tick that came
 * late counts as one that did not: what has come meanwhile has not been looked at yet. Whoever was sent to the registry
 * then would only add to what there is to do, and in a crowd all would be sent at once.
 */
import { MILLISECOND, SECOND, type Clock } from '../util/clock.ts';
import { LRUCache } from 'lru-cache';
import type { RegistryHost } from '../oci/repository.ts';

/** How often it is looked at, at least; and so many times within the first wait. */
const CHECK = 250 * MILLISECOND;
const LEAST_TICKS = 4;
/**
 * Milliseconds for a first byte while bytes of the blob, or of others that take turns with it, are coming: in a crowd
 * they come in any order, and who is sent away then costs the registry the whole blob.
 */
const ARRIVING_PATIENCE = 20 * SECOND;
/** The last byte or word must have come within so many milliseconds. */
const ARRIVING_WITHIN = 2.5 * SECOND;
/**
 * The same where others pull the blob too, or have it: as long as for a stall in mid-blob. All would be sent to the
 * registry at the very moment at which it, or the nodes, can do no more.
 */
const COMPANY_WITHIN = 10 * SECOND;
/** Milliseconds by the clock, however much this node is held up. containerd gives a pull up after 5 minutes. */
const LONGEST = 60 * SECOND;
/** A wait that takes so many times longer than its ticks says nothing about anybody else. */
const HELD_UP = 2;

export interface Waited {
  /** This node could not do its part meanwhile. */
  readonly isHeldUp: boolean;
}

export interface FirstByteTimeoutOptions {
  readonly clock: Clock;
  /** Milliseconds. */
  readonly wait: number;
  /** Whether others pull the blob too, or have it. */
  readonly hasPeers: () => boolean;
  /** Whether a byte or a word has come within so many milliseconds. */
  readonly isArriving: (within: number) => boolean;
}

/** Resolves when the wait is over. @throws the signal's reason */
export async function firstByteTimeout(
  options: FirstByteTimeoutOptions,
  signal: AbortSignal,
): Promise<Waited> {
  const { clock, wait, hasPeers, isArriving } = options;
  const tick = Math.min(CHECK, wait / LEAST_TICKS);
  const began = clock.monotonic();
  for (let ticks = 1; ; ticks++) {
    await clock.sleep(tick, { signal });
    const waited = ticks * tick;
    const took = clock.monotonic() - began;
    const slowness = Math.max(1, took / waited);
    const result = { isHeldUp: slowness > HELD_UP };
    if (took > LONGEST) return result;
    if (waited < wait) continue;
    const isShared = hasPeers();
    const within = isShared ? COMPANY_WITHIN : ARRIVING_WITHIN;
    // Where this node has no time, neither have the others perhaps, who begin at the same moment.
    const most = Math.max(wait, ARRIVING_PATIENCE) * (isShared ? slowness : 1);
    if (waited > most || !isArriving(within * slowness)) return result;
  }
}

/** The wait while a registry is out of favour. */
const SHORT_WAIT = 250 * MILLISECOND;
/** How long it stays so after a wait in vain. */
const BREAKER_OPEN = 10 * SECOND;
const MAX_REGISTRIES = 1_000;

export interface PatienceOptions {
  /** Milliseconds, for clients that go upstream by themselves. */
  readonly firstByteTimeout: number;
  /** Milliseconds, for clients that would fail the pull. */
  readonly patientTimeout: number;
  readonly clock: Clock;
}

export class FirstBytePatience {
  readonly #options: PatienceOptions;
  readonly #openBreakers: LRUCache<RegistryHost, true>;

  constructor(options: PatienceOptions) {
    this.#options = options;
    const perf = { now: (): number => options.clock.monotonic() };
    this.#openBreakers = new LRUCache({ max: MAX_REGISTRIES, ttl: BREAKER_OPEN, perf });
  }

  /** Milliseconds until the first byte, at most. */
  for(registry: RegistryHost, byPath: boolean): number {
    if (byPath) return this.#options.patientTimeout;
    return this.#openBreakers.has(registry) ? SHORT_WAIT : this.#options.firstByteTimeout;
  }

  /** A request waited in vain. */
  lost(registry: RegistryHost): void {
    this.#openBreakers.set(registry, true);
  }

  /** The registry answered. */
  restored(registry: RegistryHost): void {
    this.#openBreakers.delete(registry);
  }
}
