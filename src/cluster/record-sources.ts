/**
 * From where the records of members come, counted, so that whoever has the cluster key and makes up members cannot fill
 * the table with them. Names and records cost nothing. What costs something is an address, and to be known already.
 */
import { LRUCache } from 'lru-cache';
import { addressOf, endpointsOf, isLoopbackHost, placeOf, type Endpoint } from '../util/ip-address.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import type { Member } from '../protocol/member.ts';

/** Members at one address; who gives several nodes one address announces it with different ports. */
export const MAX_PER_ADDRESS = 8;
/** Members in one /64 of IPv6: of a network of hosts it is one, and of a single host, too. A quarter of the table. */
const MAX_PER_NETWORK = 2048;
/** Members that one source may bring at least, whom this node has not met. */
const LEAST_BROUGHT = 32;
/** And at most: this share of all the others, so that it has brought no more than a third of all. */
const SHARE_BROUGHT = 0.5;
/** Neighbours at names that the operator has configured: what they bring is the snapshot of a node that starts. */
const MAX_TRUSTED = 64;

export class RecordSources {
  readonly #byAddress: Map<string, number> = new Map();
  readonly #byNetwork: Map<string, number> = new Map();
  readonly #brought: Map<string, number> = new Map();
  readonly #trusted: LRUCache<PeerId, true> = new LRUCache({ max: MAX_TRUSTED });
  /** This node is itself on loopback: all others are programs of this machine, and each has a port. */
  isLocal = true;

  /** This node's own addresses. */
  set self(multiaddrs: readonly string[]) {
    this.isLocal = endpointsOf(multiaddrs).every(({ address }) => isLoopbackHost(address));
  }

  /** The operator has named where this peer is. */
  trust(peer: PeerId): void {
    this.#trusted.set(peer, true);
  }

  /** Whether a member is counted at this address. */
  has(address: string): boolean {
    return this.#byAddress.has(address);
  }

  /** Under which address the member is to be counted: the emptiest that it names; undefined where all are full. */
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

  /** Who has brought most of those whom this node has not met. */
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

/** Who introduces itself from an address that its record does not name: who has many names is one source. */
export function strangerAt(host: string): string {
  return `at ${placeOf(addressOf(host))}`;
}

/** Of IPv6 alone: of IPv4 a host has one address. */
function networkOf(address: string): string {
  return address.includes(':') ? placeOf(address) : address;
}

function shift(counts: Map<string, number>, key: string, by: number): void {
  const next = (counts.get(key) ?? 0) + by;
  if (next > 0) counts.set(key, next);
  else counts.delete(key);
}
