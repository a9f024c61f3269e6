/**
 * Counts the records of members by their source, so that an attacker with the cluster key cannot fill the table with
 * made-up members. Peer IDs and records cost nothing; an address costs something, and so does being known already.
 */
import { LRUCache } from 'lru-cache';
import { addressOf, endpointsOf, isLoopbackHost, placeOf, type Endpoint } from '../util/ip-address.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import type { Member } from '../protocol/member.ts';

/** Members at one address. An operator may run several nodes behind one address, on different ports. */
export const MAX_PER_ADDRESS = 8;
/** Members in one /64 of IPv6, a quarter of the table: a /64 may be a network of hosts, or a single host. */
const MAX_PER_NETWORK = 2048;
/** Members not met by this node that one source may bring at least. */
const LEAST_BROUGHT = 32;
/** And at most: this share of all others, so that one source brings no more than a third of all. */
const SHARE_BROUGHT = 0.5;
/** Neighbours at configured addresses: a node that starts takes its snapshot from them. */
const MAX_TRUSTED = 64;

export class RecordSources {
  readonly #byAddress: Map<string, number> = new Map();
  readonly #byNetwork: Map<string, number> = new Map();
  readonly #brought: Map<string, number> = new Map();
  readonly #trusted: LRUCache<PeerId, true> = new LRUCache({ max: MAX_TRUSTED });
  /** This node listens on loopback alone: all others are programs of this machine, and each has a port. */
  isLocal = true;

  /** This node's own addresses. */
  set self(multiaddrs: readonly string[]) {
    this.isLocal = endpointsOf(multiaddrs).every(({ address }) => isLoopbackHost(address));
  }

  /** The operator has configured this peer's address. */
  trust(peer: PeerId): void {
    this.#trusted.set(peer, true);
  }

  /** Whether a member is counted at this address. */
  has(address: string): boolean {
    return this.#byAddress.has(address);
  }

  /** The address at which to count the member: the emptiest that it names; undefined if all are full. */
  address({ controlAddresses }: Member): string | undefined {
    let best = '';
    let least = Infinity;
    const named = endpointsOf(controlAddresses).map((endpoint) => this.#keyOf(endpoint));
    for (const address of named.length > 0 ? named : ['']) {
      const count = this.#byAddress.get(address) ?? 0;
      if (count < least && (this.#byNetwork.get(networkOf(address)) ?? 0) < MAX_PER_NETWORK) {
        best = address;
        least = count;
      }
    }
    return least < MAX_PER_ADDRESS ? best : undefined;
  }

  /** Whether this source may bring one more. @param known members in all */
  mayBring(by: string | undefined, known: number): boolean {
    if (by === undefined || this.#trusted.has(by as PeerId)) return true;
    const brought = this.#brought.get(by) ?? 0;
    return brought < Math.max(LEAST_BROUGHT, (known - brought) * SHARE_BROUGHT);
  }

  /** The source that has brought most members that this node has not met. */
  get busiest(): string | undefined {
    let busiest: string | undefined;
    let most = 0;
    for (const [by, count] of this.#brought) {
      if (count <= most) continue;
      busiest = by;
      most = count;
    }
    return busiest;
  }

  add(address: string, by: string | undefined): void {
    shift(this.#byAddress, address, 1);
    shift(this.#byNetwork, networkOf(address), 1);
    if (by !== undefined) shift(this.#brought, by, 1);
  }

  remove(address: string, by: string | undefined): void {
    shift(this.#byAddress, address, -1);
    shift(this.#byNetwork, networkOf(address), -1);
    if (by !== undefined) shift(this.#brought, by, -1);
  }

  #keyOf({ address, port }: Endpoint): string {
    return this.isLocal && isLoopbackHost(address) ? `${address} ${port}` : address;
  }
}

/** The source of members that introduce themselves from an address that their records do not name. */
export function strangerAt(host: string): string {
  return `at ${placeOf(addressOf(host))}`;
}

/** The /64 of an IPv6 address; an IPv4 address stands for itself, since a host has one. */
function networkOf(address: string): string {
  return address.includes(':') ? placeOf(address) : address;
}

function shift(counts: Map<string, number>, key: string, by: number): void {
  const next = (counts.get(key) ?? 0) + by;
  if (next > 0) counts.set(key, next);
  else counts.delete(key);
}
