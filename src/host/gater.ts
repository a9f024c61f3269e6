/** Who may connect: members that are not banned. It is asked at once after the handshake has shown who it is. */
import type { ConnectionGater, MultiaddrConnection, PeerId } from '@libp2p/interface';
import { tryParsePeerName, type PeerName } from '../peer/peer-name.ts';
import { MAX_PENDING_PER_ADDRESS } from './limits.ts';

/** A connection keeps its peer's object, and is looked at twice a second: to decode its name each time is not free. */
const NAMES: WeakMap<PeerId, PeerName> = new WeakMap();

/** The name of a libp2p peer; undefined for keys other than Ed25519, which no member has. */
export function nameOf(peer: PeerId): PeerName | undefined {
  const known = NAMES.get(peer);
  if (known !== undefined) return known;
  const name = tryParsePeerName(peer.toString());
  if (name !== undefined) NAMES.set(peer, name);
  return name;
}

export function makeGater(isRefused: (peer: PeerName) => boolean): ConnectionGater {
  const pending = new PendingByAddress();
  const deny = (peer: PeerId): boolean => {
    const name = nameOf(peer);
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

/** Counts handshakes in progress for each remote address: strangers who never finish one take only so many places. */
class PendingByAddress {
  readonly #counts: Map<string, number> = new Map();
  readonly #open: Set<MultiaddrConnection> = new Set();

  begin(connection: MultiaddrConnection): boolean {
    const host = hostOf(connection);
    const count = this.#counts.get(host) ?? 0;
    if (count >= MAX_PENDING_PER_ADDRESS) return false;
    this.#counts.set(host, count + 1);
    this.#open.add(connection);
    connection.addEventListener('close', () => this.end(connection), { once: true });
    return true;
  }

  end(connection: MultiaddrConnection): void {
    if (!this.#open.delete(connection)) return;
    const host = hostOf(connection);
    const count = (this.#counts.get(host) ?? 1) - 1;
    if (count === 0) this.#counts.delete(host);
    else this.#counts.set(host, count);
  }
}

function hostOf(connection: MultiaddrConnection): string {
  return connection.remoteAddr.getComponents()[0]?.value ?? '';
}
