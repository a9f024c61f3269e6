/**
 * Decides who may connect: any member that is not banned. It is asked as soon as the handshake has shown the peer ID.
 */
import type { ConnectionGater, MultiaddrConnection, PeerId as Libp2pPeerId } from '@libp2p/interface';
import { tryParsePeerId, type PeerId } from '../protocol/peer-id.ts';
import { addressOf, placeOf } from '../util/ip-address.ts';
import { MAX_PENDING_PER_PLACE, MAX_PENDING_STRANGERS } from './limits.ts';

/**
 * Decoding a peer ID is not free, and each connection is looked at twice a second. A connection keeps its libp2p ID
 * object.
 */
const PEER_IDS: WeakMap<Libp2pPeerId, PeerId> = new WeakMap();

/** Weir's form of a libp2p peer ID; undefined for keys other than Ed25519, which no member has. */
export function weirPeerIdOf(peer: Libp2pPeerId): PeerId | undefined {
  const known = PEER_IDS.get(peer);
  if (known !== undefined) return known;
  const parsed = tryParsePeerId(peer.toString());
  if (parsed !== undefined) PEER_IDS.set(peer, parsed);
  return parsed;
}

/**
 * @param isRefused whether connections of this peer are refused
 * @param isKnown whether a member's record contains this address
 */
export function makeGater(
  isRefused: (peer: PeerId) => boolean,
  isKnown: (host: string) => boolean,
): ConnectionGater {
  const pending = new PendingByPlace(isKnown);
  const deny = (peer: Libp2pPeerId): boolean => {
    const id = weirPeerIdOf(peer);
    return id === undefined || isRefused(id);
  };
  return {
    denyDialPeer: deny,
    denyDialMultiaddr: () => false, // clusters have private addresses
    denyInboundConnection: (connection) => !pending.begin(connection),
    denyInboundEncryptedConnection: deny,
    denyOutboundEncryptedConnection: deny,
    denyInboundUpgradedConnection: (_, connection) => {
      pending.end(connection);
      return false;
    },
  };
}

/**
 * Counts handshakes in progress per place, so that strangers that never finish one cannot take all of them. All
 * strangers together leave some for addresses in members' records. Such an address is a place of its own: otherwise a
 * stranger in the same /64 could keep the members there out.
 */
class PendingByPlace {
  readonly #isKnown: (host: string) => boolean;
  readonly #counts: Map<string, number> = new Map();
  /** Each handshake with the place that it counts for. */
  readonly #open: Map<MultiaddrConnection, string> = new Map();

  constructor(isKnown: (host: string) => boolean) {
    this.#isKnown = isKnown;
  }

  begin(connection: MultiaddrConnection): boolean {
    const host = hostOf(connection);
    const isKnown = this.#isKnown(host);
    if (!isKnown && this.#open.size >= MAX_PENDING_STRANGERS) return false;
    const place = isKnown ? addressOf(host) : placeOf(host);
    const count = this.#counts.get(place) ?? 0;
    if (count >= MAX_PENDING_PER_PLACE) return false;
    this.#counts.set(place, count + 1);
    this.#open.set(connection, place);
    connection.addEventListener('close', () => this.end(connection), { once: true });
    return true;
  }

  end(connection: MultiaddrConnection): void {
    const place = this.#open.get(connection);
    if (place === undefined) return;
    this.#open.delete(connection);
    const count = (this.#counts.get(place) ?? 1) - 1;
    if (count === 0) this.#counts.delete(place);
    else this.#counts.set(place, count);
  }
}

function hostOf(connection: MultiaddrConnection): string {
  return connection.remoteAddr.getComponents()[0]?.value ?? '';
}
