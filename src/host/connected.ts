/** Connected peers, for people. */
import type { Connection } from '@libp2p/interface';
import { nameOf } from './gater.ts';
import type { ConnectedPeer } from './options.ts';

export function describe(connection: Connection): ConnectedPeer | undefined {
  const peer = nameOf(connection.remotePeer);
  if (peer === undefined || connection.status !== 'open') return undefined;
  const { remoteAddr, direction, rtt, timeline } = connection;
  return { peer, address: String(remoteAddr), direction, rtt, since: timeline.open };
}
