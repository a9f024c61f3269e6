/**
 * Announces in the DHT which blobs this node has, in the background and slowly. One announcement costs tenths of a
 * CPU second over all nodes; hundreds at once would stop a cluster for half a minute. Nothing waits for it: a node
 * that needs a blob now finds its holders by the swarm.
 *
 * It therefore pauses while the node pulls. On a cluster of 12 nodes on two cores that pulled for half a minute,
 * announcing was a third of all CPU time. If as many other members have announced a blob as a search looks for, this
 * node does not announce it, and checks again later.
 *
 *     provide() → fresh (newest first) → announced → due again before it expires → …
 *                                      ↘ covered → looked up again → …
 *     withdraw() → forgotten; its record expires by itself
 */
import { HOUR, MILLISECOND, MINUTE, SECOND, type Clock } from '../util/clock.ts';
import type { Digest } from '../oci/digest.ts';
import { cidOf, ENOUGH_HOLDERS, type ContentRouting } from './content-routing.ts';
import type { PeerId } from '../protocol/peer-id.ts';

/** Announcements under way. */
const CONCURRENCY = 2;
/**
 * Milliseconds between two announcements of one worker: so many per member, with a minimum and a maximum, as all
 * members may have pulled the same image. Up to 50 members announce ten a second together.
 */
const PAUSE_EACH = 200 * MILLISECOND;
const PAUSE_LEAST = SECOND;
const PAUSE_MOST = 10 * SECOND;
/** Milliseconds for one announcement; a query that takes longer has met dead members. */
const TIMEOUT = 10 * SECOND;
/**
 * To look up who has announced a blob, so many of the members nearest to it must answer. Each of them should know.
 */
const LOOK_ANSWERS = 3;
const LOOK_TIMEOUT = 3 * SECOND;
/** A blob that enough others have announced is looked up again after this time, and up to an hour more. */
const COVERED_FOR = 3 * HOUR;
/** Digests that are kept announced; above this the records announced longest ago expire. */
const MAX_DIGESTS = 100_000;
/** How long before its expiry a record is renewed, so that a queue that is behind loses none. */
const MARGIN = 4 * HOUR;
/** Delay before retries while nobody takes announcements (a lone node). */
const FIRST_RETRY = 5 * SECOND;
const LAST_RETRY = 5 * MINUTE;
/** Milliseconds between two checks whether the node still pulls. */
const LOOK = SECOND;
/** Milliseconds for which a pull can hold announcements up. */
const MAX_HOLD = 5 * MINUTE;

export interface ProviderAnnouncerOptions {
  readonly routing: ContentRouting;
  /** Whether this node is busy with a pull. */
  readonly isBusy: () => boolean;
  /** Number of members in the cluster. */
  readonly members: () => number;
  /** Whether this member is live. */
  readonly isLive: (peer: PeerId) => boolean;
  readonly clock: Clock;
  readonly onProblem: (error: unknown) => void;
}

export class ProviderAnnouncer implements AsyncDisposable {
  readonly #options: ProviderAnnouncerOptions;
  /** Not announced yet. */
  readonly #fresh: Set<Digest> = new Set();
  /** The same as a stack, with some digests that have been withdrawn since. */
  #stack: Digest[] = [];
  /** When each is due again, on the monotonic clock. Soonest first, because all wait for about the same time. */
  readonly #announced: Map<Digest, number> = new Map();
  /** Digests that enough others have announced, and when each is looked up again; soonest first, too. */
  readonly #covered: Map<Digest, number> = new Map();
  readonly #stop: AbortController = new AbortController();
  readonly #workers: readonly Promise<void>[];
  #wake: PromiseWithResolvers<void> = Promise.withResolvers();
  #failures = 0;
  /** Since when the node has been busy; on the monotonic clock. */
  #busySince: number | undefined;

  constructor(options: ProviderAnnouncerOptions) {
    this.#options = options;
    this.#workers = Array.from({ length: CONCURRENCY }, () => this.#work());
  }

  /** Digests that wait for their first announcement, that this node has announced, and that others have announced. */
  get counts(): { readonly waiting: number; readonly announced: number; readonly covered: number } {
    return { waiting: this.#fresh.size, announced: this.#announced.size, covered: this.#covered.size };
  }

  /** This node now has the blob. */
  provide(digest: Digest): void {
    const isKnown = this.#announced.has(digest) || this.#covered.has(digest) || this.#fresh.has(digest);
    if (isKnown || this.#stop.signal.aborted) return;
    this.#push(digest);
    if (this.#fresh.size + this.#announced.size + this.#covered.size > MAX_DIGESTS) this.#dropOldest();
    this.#wake.resolve();
    this.#wake = Promise.withResolvers();
  }

  /** This node no longer has the blob. */
  withdraw(digest: Digest): void {
    this.#fresh.delete(digest);
    this.#covered.delete(digest);
    if (!this.#announced.delete(digest)) return;
    const { routing, onProblem } = this.#options;
    routing.withdraw(cidOf(digest)).catch(onProblem);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#workers);
  }

  /** Runs until the announcer is disposed of; never throws. */
  async #work(): Promise<void> {
    const { clock } = this.#options;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        const { digest, isOurs } = await this.#next();
        const isTaken = (!isOurs && (await this.#isCovered(digest))) || (await this.#announce(digest));
        await clock.sleep(isTaken ? this.#pause() : this.#retryDelay(), { signal });
      } catch (error) {
        if (!signal.aborted) this.#options.onProblem(error);
      }
    }
  }

  /**
   * Takes the next digest from the queue, and tells whether this node has announced it before. Waits until there is
   * one, and until the node is not busy.
   */
  async #next(): Promise<{ readonly digest: Digest; readonly isOurs: boolean }> {
    const { clock } = this.#options;
    for (;;) {
      this.#stop.signal.throwIfAborted();
      const [ours, renewAt] = this.#announced.entries().next().value ?? [undefined, Infinity];
      const [theirs, lookAt] = this.#covered.entries().next().value ?? [undefined, Infinity];
      const wait = this.#fresh.size > 0 ? 0 : Math.min(renewAt, lookAt) - clock.monotonic();
      if (wait > 0) {
        this.#busySince = undefined;
        await this.#idle(Math.min(wait, HOUR));
      } else if (this.#isHeld()) {
        await clock.sleep(LOOK, { signal: this.#stop.signal });
      } else {
        const newest = this.#pop();
        if (newest !== undefined) return { digest: newest, isOurs: false };
        const isOurs = renewAt <= lookAt;
        const digest = isOurs ? ours : theirs;
        if (digest === undefined) continue;
        (isOurs ? this.#announced : this.#covered).delete(digest);
        return { digest, isOurs };
      }
    }
  }

  #isHeld(): boolean {
    const { clock, isBusy } = this.#options;
    if (!isBusy()) {
      this.#busySince = undefined;
      return false;
    }
    this.#busySince ??= clock.monotonic();
    return clock.monotonic() - this.#busySince < MAX_HOLD;
  }

  async #idle(ms: number): Promise<void> {
    const ended = new AbortController();
    const signal = AbortSignal.any([this.#stop.signal, ended.signal]);
    try {
      await Promise.race([this.#options.clock.sleep(ms, { signal }), this.#wake.promise]);
    } finally {
      ended.abort();
    }
  }

  /** Whether enough live members have announced it; then it is looked up again later. */
  async #isCovered(digest: Digest): Promise<boolean> {
    const { clock } = this.#options;
    // It counts as covered meanwhile, so that withdraw() finds it.
    this.#covered.set(digest, clock.monotonic() + COVERED_FOR);
    const isEnough = (await this.#others(digest)) >= ENOUGH_HOLDERS;
    if (!this.#covered.delete(digest)) return true; // withdrawn meanwhile
    if (isEnough) this.#covered.set(digest, clock.monotonic() + COVERED_FOR + clock.random() * HOUR);
    return isEnough;
  }

  /** How many other live members have announced it; counts no further than enough. */
  async #others(digest: Digest): Promise<number> {
    const { routing, isLive, onProblem } = this.#options;
    const others = new Set<PeerId>();
    const limit = AbortSignal.timeout(LOOK_TIMEOUT);
    try {
      const signal = AbortSignal.any([this.#stop.signal, limit]);
      for await (const peer of routing.find(cidOf(digest), { signal, answers: LOOK_ANSWERS, atOnce: 1 })) {
        if (isLive(peer)) others.add(peer);
        if (others.size >= ENOUGH_HOLDERS) break;
      }
    } catch (error) {
      if (!this.#stop.signal.aborted && !limit.aborted) onProblem(error);
    }
    return others.size;
  }

  async #announce(digest: Digest): Promise<boolean> {
    const { routing, clock } = this.#options;
    // It counts as announced meanwhile, so that withdraw() finds it.
    this.#announced.set(digest, clock.monotonic() + LAST_RETRY);
    const taken = await this.#provide(digest);
    if (!this.#announced.delete(digest)) return true; // withdrawn meanwhile
    if (taken === 0) {
      this.#push(digest);
      this.#failures += 1;
      return false;
    }
    this.#failures = 0;
    const jitter = clock.random() * HOUR; // spreads renewals of blobs that were announced together
    this.#announced.set(digest, clock.monotonic() + Math.max(HOUR, routing.validity - MARGIN - jitter));
    return true;
  }

  /** @returns how many members took it; 0 after a failure */
  async #provide(digest: Digest): Promise<number> {
    const { routing, onProblem } = this.#options;
    try {
      const signal = AbortSignal.any([this.#stop.signal, AbortSignal.timeout(TIMEOUT)]);
      return await routing.provide(cidOf(digest), { signal });
    } catch (error) {
      if (!this.#stop.signal.aborted) onProblem(error);
      return 0;
    }
  }

  #pause(): number {
    const { clock, members } = this.#options;
    const pause = Math.min(PAUSE_MOST, Math.max(PAUSE_LEAST, PAUSE_EACH * members()));
    return pause * (0.5 + clock.random());
  }

  #retryDelay(): number {
    return Math.min(FIRST_RETRY * 2 ** Math.min(this.#failures, 10), LAST_RETRY);
  }

  #push(digest: Digest): void {
    this.#fresh.add(digest);
    this.#stack.push(digest);
    // Withdrawn digests would pile up in the stack.
    if (this.#stack.length > 2 * MAX_DIGESTS) this.#stack = [...this.#fresh];
  }

  #pop(): Digest | undefined {
    for (;;) {
      const digest = this.#stack.pop();
      if (digest === undefined || this.#fresh.delete(digest)) return digest;
    }
  }

  #dropOldest(): void {
    const [covered] = this.#covered.keys();
    const [oldest] = this.#announced.keys();
    const [first] = this.#fresh;
    if (covered !== undefined) this.#covered.delete(covered);
    else if (oldest !== undefined) this.#announced.delete(oldest);
    else if (first !== undefined) this.#fresh.delete(first);
  }
}
