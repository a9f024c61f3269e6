/**
 * Announces to the DHT the blobs that this node holds: those of the start, and those that come and go. It waits first:
 * in a crowd all nodes would announce the same digests while all are busy, and the swarms know the holders anyway.
 */
import { MINUTE, SECOND, type Clock } from '../util/clock.ts';
import type { Digest } from '../oci/digest.ts';
import type { BlobProvider } from '../store/store.ts';

/** Milliseconds before a blob is announced, at least. A random time is added, so that nodes take turns. */
const DELAY = 20 * SECOND;
/** Milliseconds by which each member raises the random time: all members may have pulled the same image. */
const SPREAD = SECOND;
const MAX_SPREAD = 10 * MINUTE;
/** Blobs that wait. Further ones are announced at the next start. */
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

  /** @throws the error of a provider that cannot be listed */
  async announceAll(providers: readonly BlobProvider[]): Promise<void> {
    for (const provider of providers) for await (const { digest } of provider.list()) this.add(digest);
  }

  /** To be called when this node has got the blob. */
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

  /** Announces a key under which this node is to be found soon. There are few of them, and swarms do not know them. */
  addSoon(key: Digest): void {
    this.#options.queue.provide(key);
  }

  /** To be called when this node has lost the blob. */
  remove(digest: Digest): void {
    clearTimeout(this.#waiting.get(digest));
    if (!this.#waiting.delete(digest)) this.#options.queue.withdraw(digest);
  }

  [Symbol.dispose](): void {
    for (const timer of this.#waiting.values()) clearTimeout(timer);
    this.#waiting.clear();
  }
}
