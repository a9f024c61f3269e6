/**
 * Announces a node that has just started to all members by gossip.
 *
 * A message that is published too early reaches nobody: a peer may have subscribed before a stream to it is open.
 * Gossip never passes the same message on twice, so the others would only hear of the node minutes later, from member
 * sync. Therefore it is published again, with a newer record each time, until enough peers took it.
 */
import { SECOND, type Clock } from '../util/clock.ts';
import type { SignedMember } from '../protocol/signed-record.ts';

/** Milliseconds between checks whether a peer has subscribed. */
const POLL = 50;
/** So many recipients are enough to pass it on: one of them may be about to leave, or have no other peers yet. */
const ENOUGH = 3;
/** A cluster of two never has enough recipients. */
const MOST_TIMES = 5;
/** Milliseconds before it is published again after too few took it; doubled each time. */
const AGAIN_AFTER = SECOND;

export interface FirstAnnouncementOptions {
  readonly clock: Clock;
  /** Peers that have subscribed. */
  readonly listeners: () => number;
  /** @returns how many peers it was sent to */
  readonly publish: (record: SignedMember) => Promise<number>;
  readonly current: () => SignedMember;
  /** @returns a newer record with the same content */
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
