/**
 * libp2p's peer store, without work that costs CPU and changes nothing (docs/adr/0022-cheap-idle-connections.md). The
 * library keeps each peer as encoded bytes. It decodes them for each read. For each update it decodes, merges,
 * encodes and writes them again:
 *
 * - A connection updates the protocols of its peer for each stream, in and out.
 * - The DHT updates the addresses of the twenty members in each answer, and looks up the addresses for its own
 *   answers.
 * - kad-dht tags the twenty closest members `keep-alive`, and libp2p dials a peer with that tag as soon as its
 *   connection is closed. neighbours.ts decides which peers are dialled: connections that it closes would come back
 *   for ever.
 */
import { KEEP_ALIVE, type Peer, type PeerData, type PeerStore } from '@libp2p/interface';
import { LRUCache } from 'lru-cache';
import { HOUR } from '../util/clock.ts';

/** Peers that are kept decoded, some 2 KiB each. */
const MAX_DECODED = 2048;
/**
 * After this an update is written again although it changes nothing: addresses expire if nobody names them any more.
 */
const REFRESHED_AFTER = HOUR;

/** Answers repeated reads from memory, and passes on only updates that change something. */
export function withCache(store: PeerStore): void {
  const peers = new LRUCache<string, Peer>({ max: MAX_DECODED, ttl: REFRESHED_AFTER });
  const get = store.get.bind(store);
  const merge = store.merge.bind(store);
  const patch = store.patch.bind(store);
  const save = store.save.bind(store);
  const remove = store.delete.bind(store);
  const keep = (entry: Peer): Peer => {
    peers.set(entry.id.toString(), entry);
    return entry;
  };
  store.get = async (peer, options) => {
    const known = peers.get(peer.toString());
    if (known !== undefined) return known;
    const entry = await get(peer, options);
    return peers.get(peer.toString()) ?? keep(entry); // a write meanwhile is newer
  };
  store.merge = async (peer, data, options) => {
    const wanted = withoutKeepAlive(data);
    const known = peers.get(peer.toString());
    return known !== undefined && saysNothing(wanted, known)
      ? known
      : keep(await merge(peer, wanted, options));
  };
  store.patch = async (peer, data, options) => keep(await patch(peer, data, options));
  store.save = async (peer, data, options) => keep(await save(peer, data, options));
  store.delete = async (peer, options) => {
    await remove(peer, options);
    peers.delete(peer.toString());
  };
}

/** Whether the entry contains all of it. Only addresses and protocols are compared: other updates are rare. */
function saysNothing({ protocols = [], multiaddrs = [], ...rest }: PeerData, entry: Peer): boolean {
  if (Object.values(rest).some((value) => value !== undefined)) return false;
  if (!protocols.every((protocol) => entry.protocols.includes(protocol))) return false;
  const suffix = `/p2p/${entry.id.toString()}`;
  return multiaddrs.every((address) => {
    const bare = address.toString().replace(suffix, '');
    return entry.addresses.some(({ multiaddr }) => multiaddr.toString() === bare);
  });
}

function withoutKeepAlive(data: PeerData): PeerData {
  const { tags } = data;
  if (tags === undefined) return data;
  const entries = tags instanceof Map ? [...tags] : Object.entries(tags);
  return { ...data, tags: Object.fromEntries(entries.filter(([tag]) => !tag.startsWith(KEEP_ALIVE))) };
}
