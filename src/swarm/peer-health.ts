/** What is done about a peer that is silent, or stalls. */
import { SECOND } from '../util/clock.ts';
import type { PeerName } from '../protocol/peer-id.ts';
import { LAPSE_REASONS } from './chunk-request.ts';
import type { SwarmState } from './swarm-state.ts';

/** How much longer a mute peer is left alone each time, and milliseconds of that at most. */
const MUTE_GROWS = 4;
const LONGEST_MUTE: number = 16 * SECOND;

/**
 * A few times may be chance, where all cores or a link are taken: its links stay, and so does its place among the
 * homes. From the second time on that not even an acknowledgement comes, what it says that it has counts no more, and
 * others are asked as homes before it: all would wait for it, and nobody would fetch what it alone claims to have.
 */
export function slacked(state: SwarmState, peer: PeerName, lapse: 'silent' | 'stalled'): void {
  const { environment } = state;
  const { aside, slack } = environment.parameters;
  const times = (environment.slack.get(peer) ?? 0) + 1;
  environment.slack.set(peer, times);
  const isMute = lapse === 'silent' && times > 1;
  if (isMute) {
    const ms = Math.min(LONGEST_MUTE, aside * MUTE_GROWS ** (times - 1));
    environment.mute.set(peer, state.now + ms);
  }
  if (times >= slack) state.blame(peer, LAPSE_REASONS[lapse], { isSlow: true });
  else if (isMute) state.forget(peer, true);
  else setAside(state, peer, aside * 2 ** (times - 1));
}

/** Nothing is asked of it, as a neighbour, for so many milliseconds. */
export function setAside(state: SwarmState, peer: PeerName, ms: number): void {
  const neighbour = state.neighbours.get(peer);
  if (neighbour !== undefined) state.neighbours.rest(neighbour, state.now + ms);
}
