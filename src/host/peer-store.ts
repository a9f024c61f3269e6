/**
 * What libp2p writes to its peer store, but for what costs and says nothing (docs/adr/0022-a-node-at-rest.md):
 *
 * - A connection writes a stream's protocol down for each stream, in and out: the peer's entry is read, decoded, merged,
 *   encoded and written again, to say what it said before. Once for each peer is enough.
 * - kad-dht tags the twenty closest members `keep-alive`, and libp2p dials whoever has that tag as soon as its connection
 *   is closed. neighbours.ts decides who is dialled: what it closes would come back for ever.
 */
import { KEEP_ALIVE, type Peer, type PeerData, type PeerStore } from '@libp2p/interface';
import { LRUCache } from 'lru-cache';

/** Peers whose protocols are remembered: more than have connections. */
const MAX_PEERS = 2048;

interface Known {
  /** As it was when its last protocol was new. */
  entry: Peer;
  readonly protocols: Set<string>;
}

/** Has the store take only what says something new. */
export function withFewerWrites(store: PeerStore): void {
  const peers = new LRUCache<string, Known>({ max: MAX_PEERS });
  const merge = store.merge.bind(store);
  store.merge = async (peer, data, options) => {
    const protocol = onlyProtocol(data);
    if (protocol === undefined) return merge(peer, withoutKeepAlive(data), options);
    const name = peer.toString();
    const known = peers.get(name);
    if (known?.protocols.has(protocol) === true) return known.entry;
    const entry = await merge(peer, data, options);
    if (known === undefined) peers.set(name, { entry, protocols: new Set([protocol]) });
    else {
      known.entry = entry;
      known.protocols.add(protocol);
    }
    return entry;
  };
}

/** The protocol, where that is all there is to be written. */
function onlyProtocol({ protocols, ...rest }: PeerData): string | undefined {
  return protocols?.length === 1 && Object.keys(rest).length === 0 ? protocols[0] : undefined;
}

function withoutKeepAlive(data: PeerData): PeerData {
  const { tags } = data;
  if (tags === undefined) return data;
  const entries = tags instanceof Map ? [...tags] : Object.entries(tags);
  return { ...data, tags: Object.fromEntries(entries.filter(([tag]) => !tag.startsWith(KEEP_ALIVE))) };
}
