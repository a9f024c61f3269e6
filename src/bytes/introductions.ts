/**
 * Sends this node's record to members that cut it off at once, as members do with strangers. A member that goes on to do so
 * does not get it each time: that takes a libp2p connection.
 */
import { SECOND, type Clock } from '../util/clock.ts';
import type { PeerId } from '../protocol/peer-id.ts';

/** Milliseconds for the record to reach a member. */
const TIMEOUT = 3 * SECOND;
/** Milliseconds before a member is sent the record again. */
const AGAIN = 10 * SECOND;

export class Introductions {
  readonly #send: (peer: PeerId) => Promise<void>;
  readonly #clock: Clock;
  /** Milliseconds, monotonic: when each member was last sent the record, the latest one last. */
  readonly #sentAt = new Map<PeerId, number>();

  constructor(send: (peer: PeerId) => Promise<void>, clock: Clock) {
    this.#send = send;
    this.#clock = clock;
  }

  /**
   * @returns undefined if the member was sent the record a moment ago; otherwise it never rejects: if sending fails, the
   * member may know this node all the same, or cuts it off, which is reported
   */
  begin(peer: PeerId): Promise<void> | undefined {
    const now = this.#clock.monotonic();
    for (const [each, at] of this.#sentAt) {
      if (now - at < AGAIN) break;
      this.#sentAt.delete(each);
    }
    if (this.#sentAt.has(peer)) return undefined;
    this.#sentAt.set(peer, now);
    return this.#introduce(peer);
  }

  /** The member knows this node. If it forgets it, it may be told at once. */
  settle(peer: PeerId): void {
    this.#sentAt.delete(peer);
  }

  async #introduce(peer: PeerId): Promise<void> {
    const over = new AbortController();
    try {
      await Promise.race([this.#send(peer), this.#clock.sleep(TIMEOUT, { signal: over.signal })]);
    } catch {
      // As above.
    } finally {
      over.abort();
    }
  }
}
