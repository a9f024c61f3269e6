/** What is done about a peer that is silent, or stalls. */
import { BACKOFF_GROWTH, BACKOFF_MAX } from './parameters.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import { FAILURE_REASONS } from './chunk-request.ts';
import type { SwarmState } from './swarm-state.ts';

/**
 * A few times may be chance, where all cores or a link are taken: its links stay, and so does its place among the
 * homes. From the second time on that not even an acknowledgement comes, what it says that it has counts no more, and
 * others are asked as homes before it: all would wait for it, and nobody would fetch what it alone claims to have.
 */
export function strike(state: SwarmState, peer: PeerId, failure: 'silent' | 'stalled'): void {
  const { environment } = state;
  const { firstBackoff, strikesToSuspect } = environment.parameters;
  const times = (environment.strikes.get(peer) ?? 0) + 1;
  environment.strikes.set(peer, times);
  const isMute = failure === 'silent' && times > 1;
  if (isMute) {
    const ms = Math.min(BACKOFF_MAX, firstBackoff * BACKOFF_GROWTH ** (times - 1));
    environment.snubbed.set(peer, state.now + ms);
  }
  if (times >= strikesToSuspect) state.blame(peer, FAILURE_REASONS[failure], { isSlow: true });
  else if (isMute) state.forget(peer, true);
  else snub(state, peer, firstBackoff * 2 ** (times - 1));
}

/** Nothing is asked of it, as a neighbour, for so many milliseconds. */
export function snub(state: SwarmState, peer: PeerId, ms: number): void {
  const swarmPeer = state.peers.get(peer);
  if (swarmPeer !== undefined) state.peers.rest(swarmPeer, state.now + ms);
}
