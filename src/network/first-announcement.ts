/**
 * A node that comes up tells all of itself. What is published too early reaches nobody: a peer may have told what it
 * listens to before a stream to it is open. Such a message would be lost, as gossip does not pass the same one on twice,
 * and others would hear of the node minute by minute, as they compare their members. So it is said again, with a newer
 * record each time, until some have taken it.
 */
import { SECOND, type Clock } from '../util/clock.ts';
import type { SignedMember } from '../protocol/signed-record.ts';

/** Milliseconds between looks whether anybody listens yet. */
const POLL = 50;
/** Peers that pass it on: one may be about to leave, or have no other peers yet. */
const ENOUGH = 3;
/** In a cluster of two nobody else will ever come. */
const MOST_TIMES = 5;
/** Milliseconds before it is told again to so few; twice as long each time. */
const AGAIN_AFTER = SECOND;

export interface FirstAnnouncementOptions {
  readonly clock: Clock;
  /** Peers that want to hear of members. */
  readonly listeners: () => number;
  /** @returns to how many peers it went */
  readonly publish: (record: SignedMember) => Promise<number>;
  readonly current: () => SignedMember;
  /** @returns a newer one that says the same */
  readonly renew: () => SignedMember;
}

/** @throws the signal's reason */
export async function announceFirst(options: FirstAnnouncementOptions, signal: AbortSignal): Promise<void> {
  const { clock, listeners, publish, current, renew } = options;
  let record: SignedMember | undefined;
  for (let times = 0; times < MOST_TIMES;) {
    while (listeners() === 0) await clock.sleep(POLL, { signal });
    record = record === undefined ? current() : renew();
    const reached = await publish(record);
    if (reached >= ENOUGH) return;
    if (reached > 0) times += 1;
    await clock.sleep(reached > 0 ? AGAIN_AFTER * 2 ** (times - 1) : POLL, { signal });
  }
}
