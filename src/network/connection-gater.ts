/** Who may connect: members that are not banned. It is asked at once after the handshake has shown who it is. */
import type { ConnectionGater, MultiaddrConnection, PeerId as Libp2pPeerId } from '@libp2p/interface';
import { tryParsePeerId, type PeerId } from '../protocol/peer-id.ts';
import { addressOf, placeOf } from '../util/ip-address.ts';
import { MAX_PENDING_PER_PLACE, MAX_PENDING_STRANGERS } from './limits.ts';

/** A connection keeps its peer's object, and is looked at twice a second: to decode its name each time is not free. */
const NAMES: WeakMap<Libp2pPeerId, PeerId> = new WeakMap();

/** The name of a libp2p peer; undefined for keys other than Ed25519, which no member has. */
export function weirPeerIdOf(peer: Libp2pPeerId): PeerId | undefined {
  const known = NAMES.get(peer);
  if (known !== undefined) return known;
  const name = tryParsePeerId(peer.toString());
  if (name !== undefined) NAMES.set(peer, name);
  return name;
}

/**
 * @param isRefused whose connections are refused
 * @param isKnown whether a member's record names this address
 */
export function makeGater(
  isRefused: (peer: PeerId) => boolean,
  isKnown: (host: string) => boolean,
): ConnectionGater {
  const pending = new PendingByPlace(isKnown);
  const deny = (peer: Libp2pPeerId): boolean => {
    const name = weirPeerIdOf(peer);
    return name === undefined || isRefused(name);
  };
  return {
    denyDialPeer: deny,
    denyDialMultiaddr: () => false, // private addresses are what clusters have
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
 * Counts handshakes in progress for each place: strangers who never finish one take only so many, and all strangers
 * together leave some for addresses that members' records name. Such an address is a place of its own, or a stranger in
 * the same /64 would keep the members there out.
 */
class PendingByPlace {
  readonly #isKnown: (host: string) => boolean;
  readonly #counts: Map<string, number> = new Map();
  /** Each with the place under which it is counted. */
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
