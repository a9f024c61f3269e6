/** What a node does about a peer that is silent or stalls. */
import { BACKOFF_GROWTH, BACKOFF_MAX } from './parameters.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import { FAILURE_REASONS } from './chunk-request.ts';
import type { SwarmState } from './swarm-state.ts';

/**
 * A few strikes may be chance, if all cores or a link are taken: the peer stays. As an owner it is passed over for some
 * seconds from the first missed acknowledgement on, since others are as good. After a second one in a row its bitfield is
 * ignored: otherwise all would wait for it, and nobody would fetch the chunks that it alone has.
 */
export function strike(state: SwarmState, peer: PeerId, failure: 'silent' | 'stalled'): void {
  const { environment } = state;
  const { firstBackoff, strikesToSuspect } = environment.parameters;
  const times = (environment.strikes.get(peer) ?? 0) + 1;
  environment.strikes.set(peer, times);
  const isSilent = failure === 'silent';
  if (isSilent) {
    const ms = Math.min(BACKOFF_MAX, firstBackoff * BACKOFF_GROWTH ** (times - 1));
    environment.snubbed.set(peer, state.now + ms);
  }
  if (times >= strikesToSuspect) state.blame(peer, FAILURE_REASONS[failure]);
  else if (isSilent && times > 1) state.forget(peer);
  else snub(state, peer, firstBackoff * 2 ** (times - 1));
}

/** The peer is not asked as a peer of the swarm for `ms` milliseconds. */
export function snub(state: SwarmState, peer: PeerId, ms: number): void {
  const swarmPeer = state.peers.get(peer);
  if (swarmPeer !== undefined) state.peers.rest(swarmPeer, state.now + ms);
}
