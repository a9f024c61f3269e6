/**
 * Admits connections that peers open: of members that are not banned, a bounded number for each.
 *
 * With TLS, the certificate identifies the member. Without TLS, its hello names the peer ID, and the connection must
 * come from an address of that member's record. That trusts the network not to forge addresses.
 */
import type { Membership } from '../cluster/membership.ts';
import type { Member } from '../protocol/member.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import { addressOf, placeOf } from '../util/ip-address.ts';

/** Connections that one member has opened: one, and some that it gave up and that this side has not closed yet. */
const MAX_PER_MEMBER = 4;
/**
 * Connections from one place (an IPv4 address, a /64 of IPv6) whose member is not known yet. A dozen nodes behind one
 * address may begin a pull together, but a stranger must not take all connections of this port.
 */
const MAX_PENDING = 256;
/**
 * Connections from all places together whose member is not known yet; the rest is for addresses in members' records.
 */
const MAX_PENDING_STRANGERS = 512;

export type Refusal = 'no-certificate' | 'stranger' | 'banned' | 'too-many';

/** The member, or the reason for a refusal. */
export type Verdict = { readonly peer: PeerId } | { readonly refused: Refusal };

/** A connection that a peer has opened. */
export interface Connection {
  readonly remoteAddress: string;
  /** @param callback called once, when it is closed; never if it is closed already */
  onClose(callback: () => void): void;
  /** Closes it at once. */
  destroy(): void;
}

/** The certificate that a peer presented, unchecked. */
export interface PresentedCertificate {
  /** sha256 of its DER. */
  readonly fingerprint: Uint8Array;
  /** Empty if it names none. */
  readonly name: string;
}

export type KnownMembers = Pick<Membership, 'get' | 'isBanned' | 'names' | 'onChange'>;

export class Admission implements Disposable {
  readonly #members: KnownMembers;
  readonly #withTls: boolean;
  /** The place of each. */
  readonly #pending = new Map<Connection, string>();
  /** By place. */
  readonly #pendingFrom = new Map<string, number>();
  readonly #connections = new Map<PeerId, Set<Connection>>();
  readonly #unsubscribe: () => void;

  constructor(members: KnownMembers, withTls: boolean) {
    this.#members = members;
    this.#withTls = withTls;
    this.#unsubscribe = members.onChange(() => this.#review());
  }

  [Symbol.dispose](): void {
    this.#unsubscribe();
  }

  /** Counts a connection whose member is not known yet. @returns false if it is one too many */
  begin(connection: Connection): boolean {
    const { remoteAddress } = connection;
    const isKnown = this.#members.names(remoteAddress);
    if (!isKnown && this.#pending.size >= MAX_PENDING_STRANGERS) return false;
    // An address of a member is a place of its own. Otherwise a stranger in the same /64 would keep that member out.
    const place = isKnown ? addressOf(remoteAddress) : placeOf(remoteAddress);
    const count = (this.#pendingFrom.get(place) ?? 0) + 1;
    if (count > MAX_PENDING) return false;
    this.#pendingFrom.set(place, count);
    this.#pending.set(connection, place);
    connection.onClose(() => this.#settle(connection));
    return true;
  }

  #settle(connection: Connection): void {
    const place = this.#pending.get(connection);
    if (place === undefined) return;
    this.#pending.delete(connection);
    const left = (this.#pendingFrom.get(place) ?? 1) - 1;
    if (left === 0) this.#pendingFrom.delete(place);
    else this.#pendingFrom.set(place, left);
  }

  /**
   * Identifies the peer that has greeted. With TLS, its certificate must name the member, whose record must have the
   * certificate's fingerprint. A peer that copies a fingerprint into its record is not named in the certificate. A peer
   * that names another in its certificate has another fingerprint.
   * @param peer as which it greeted
   */
  admit(connection: Connection, peer: PeerId, certificate: PresentedCertificate | undefined): Verdict {
    const member = this.#members.get(peer);
    if (!this.#withTls) {
      const isThere = member !== undefined && addressesOf(member).has(plainAddress(connection.remoteAddress));
      return this.#admit(connection, isThere ? member : undefined);
    }
    if (certificate === undefined) return { refused: 'no-certificate' };
    const isTheirs =
      member !== undefined &&
      certificate.name === peer &&
      Buffer.compare(member.fingerprint, certificate.fingerprint) === 0;
    return this.#admit(connection, isTheirs ? member : undefined);
  }

  #admit(connection: Connection, member: Member | undefined): Verdict {
    if (member === undefined) return { refused: 'stranger' };
    const { peer } = member;
    if (this.#members.isBanned(peer)) return { refused: 'banned' };
    const all = this.#connections.get(peer) ?? new Set();
    if (all.size >= MAX_PER_MEMBER) return { refused: 'too-many' };
    this.#connections.set(peer, all.add(connection));
    this.#settle(connection);
    connection.onClose(() => {
      all.delete(connection);
      if (all.size === 0 && this.#connections.get(peer) === all) this.#connections.delete(peer);
    });
    return { peer };
  }

  /** Cuts off peers that are banned or not members any more. */
  #review(): void {
    for (const [peer, connections] of this.#connections) {
      if (this.#members.get(peer) !== undefined && !this.#members.isBanned(peer)) continue;
      for (const connection of connections) connection.destroy();
    }
  }
}

function addressesOf({ dataAddresses, controlAddresses }: Member): ReadonlySet<string> {
  const control = controlAddresses.map((address) => /^\/ip[46]\/([^/]+)/.exec(address)?.[1] ?? '');
  const all = [...dataAddresses.map(({ host }) => host), ...control];
  return new Set(all.filter((address) => address !== '').map(plainAddress));
}

/** A socket that listens on IPv6 shows IPv4 addresses mapped (RFC 4291, section 2.5.5.2). */
function plainAddress(address = ''): string {
  return address.toLowerCase().replace(/^::ffff:(?=[0-9.]+$)/, '');
}
