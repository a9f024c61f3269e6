/**
 * Announces to the DHT what this node holds: what is there at the start, and what comes and goes. Not at once: in a
 * crowd all nodes would announce the same digests in the seconds in which all are busy, and the swarms know it anyway.
 */
import { MINUTE, SECOND, type Clock } from '../util/clock.ts';
import type { Digest } from '../oci/digest.ts';
import type { BlobProvider } from '../store/store.ts';

/** Milliseconds before a blob is announced, at least; the rest is by chance, so that nodes do it one after the other. */
const DELAY = 20 * SECOND;
/** Milliseconds of chance for each member: all of them may have pulled the same image. */
const SPREAD = SECOND;
const MAX_SPREAD = 10 * MINUTE;
/** Blobs that wait; above it the DHT hears of them at the next start. */
const MAX_WAITING = 10_000;

export interface AnnouncementsOptions {
  readonly queue: { provide(digest: Digest): void; withdraw(digest: Digest): void };
  readonly clock: Clock;
  readonly members: () => number;
}

export class Announcements implements Disposable {
  readonly #options: AnnouncementsOptions;
  readonly #waiting: Map<Digest, NodeJS.Timeout> = new Map();

  constructor(options: AnnouncementsOptions) {
    this.#options = options;
  }

  /** Blobs that wait to be announced. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** @throws what reading the providers throws */
  async announceAll(providers: readonly BlobProvider[]): Promise<void> {
    for (const provider of providers) for await (const { digest } of provider.list()) this.add(digest);
  }

  /** This node holds it from now on. */
  add(digest: Digest): void {
    if (this.#waiting.has(digest) || this.#waiting.size >= MAX_WAITING) return;
    const { queue, clock, members } = this.#options;
    const delay = DELAY + clock.random() * Math.min(MAX_SPREAD, SPREAD * members());
    const timer = setTimeout(() => {
      this.#waiting.delete(digest);
      queue.provide(digest);
    }, delay);
    timer.unref();
    this.#waiting.set(digest, timer);
  }

  /** This node holds it no more. */
  remove(digest: Digest): void {
    clearTimeout(this.#waiting.get(digest));
    if (!this.#waiting.delete(digest)) this.#options.queue.withdraw(digest);
  }

  [Symbol.dispose](): void {
    for (const timer of this.#waiting.values()) clearTimeout(timer);
    this.#waiting.clear();
  }
}
