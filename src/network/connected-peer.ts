/** Connected peers as `weir peers` shows them. */
import type { Connection } from '@libp2p/interface';
import { weirPeerIdOf } from './connection-gater.ts';
import type { PeerId } from '../protocol/peer-id.ts';

export interface ConnectedPeer {
  readonly peer: PeerId;
  /** Multiaddr. */
  readonly address: string;
  readonly direction: 'inbound' | 'outbound';
  /** Milliseconds; undefined until it is measured. */
  readonly rtt: number | undefined;
  /** Milliseconds since the epoch. */
  readonly since: number;
}

export function describe(connection: Connection): ConnectedPeer | undefined {
  const peer = weirPeerIdOf(connection.remotePeer);
  if (peer === undefined || connection.status !== 'open') return undefined;
  const { remoteAddr, direction, rtt, timeline } = connection;
  return { peer, address: String(remoteAddr), direction, rtt, since: timeline.open };
}
