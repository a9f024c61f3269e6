/**
 * Admits connections to the data port: of members that are not banned, a bounded number for each.
 *
 * With TLS, the certificate identifies the member. Without TLS, a header names the peer ID, and the connection must
 * come from an address of that member's record. That trusts the network not to forge addresses.
 */
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { Membership } from '../cluster/membership.ts';
import type { Member } from '../protocol/member.ts';
import { tryParsePeerId, type PeerId } from '../protocol/peer-id.ts';
import { addressOf, placeOf } from '../util/ip-address.ts';
import { fingerprintOf, nameIn } from './certificate.ts';

/**
 * Connections of one member: the 8 of its client, and as many that it gave up and that this side has not closed yet.
 */
const MAX_PER_MEMBER = 16;
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

export type KnownMembers = Pick<Membership, 'get' | 'isBanned' | 'names' | 'onChange'>;

export class Admission implements Disposable {
  readonly #members: KnownMembers;
  readonly #withTls: boolean;
  /** The place of each, by address and port, because the sockets of TCP and of TLS over it are two objects. */
  readonly #pending = new Map<string, string>();
  /** By place. */
  readonly #pendingFrom = new Map<string, number>();
  readonly #owners = new WeakMap<Socket, PeerId>();
  readonly #sockets = new Map<PeerId, Set<Socket>>();
  readonly #unsubscribe: () => void;

  constructor(members: KnownMembers, withTls: boolean) {
    this.#members = members;
    this.#withTls = withTls;
    this.#unsubscribe = members.onChange(() => this.#review());
  }

  /** Connections whose member is known. */
  get connections(): number {
    return this.#sockets.values().reduce((sum, sockets) => sum + sockets.size, 0);
  }

  [Symbol.dispose](): void {
    this.#unsubscribe();
  }

  /** Counts a connection whose member is not known yet. @returns false if it is one too many */
  begin(socket: Socket): boolean {
    const { remoteAddress = '', remotePort = 0 } = socket;
    const isKnown = this.#members.names(remoteAddress);
    if (!isKnown && this.#pending.size >= MAX_PENDING_STRANGERS) return false;
    // An address of a member is a place of its own. Otherwise a stranger in the same /64 would keep that member out.
    const place = isKnown ? addressOf(remoteAddress) : placeOf(remoteAddress);
    const count = (this.#pendingFrom.get(place) ?? 0) + 1;
    if (count > MAX_PENDING) return false;
    this.#pendingFrom.set(place, count);
    this.#pending.set(`${remoteAddress} ${remotePort}`, place);
    socket.once('close', () => this.#settle(remoteAddress, remotePort));
    return true;
  }

  #settle(address = '', port = 0): void {
    const key = `${address} ${port}`;
    const place = this.#pending.get(key);
    if (place === undefined) return;
    this.#pending.delete(key);
    const left = (this.#pendingFrom.get(place) ?? 1) - 1;
    if (left === 0) this.#pendingFrom.delete(place);
    else this.#pendingFrom.set(place, left);
  }

  /**
   * Identifies a connection after its TLS handshake: the certificate must name a member whose record has the
   * certificate's fingerprint. A peer that copies a fingerprint into its record is not named in the certificate. A
   * peer that names another in its certificate has another fingerprint.
   */
  byCertificate(socket: TLSSocket): Verdict {
    const certificate = socket.getPeerX509Certificate();
    if (certificate === undefined) return { refused: 'no-certificate' };
    const named = tryParsePeerId(nameIn(certificate));
    const member = named === undefined ? undefined : this.#members.get(named);
    const isTheirs =
      member !== undefined && Buffer.compare(member.fingerprint, fingerprintOf(certificate.raw)) === 0;
    return this.#admit(socket, isTheirs ? member : undefined);
  }

  /** Identifies the sender of a request. @param name the peer ID in its header; counts without TLS only */
  ofRequest(socket: Socket, name: string | string[] | undefined): Verdict {
    const owner = this.#owners.get(socket);
    if (owner !== undefined) {
      if (this.#members.isBanned(owner)) return { refused: 'banned' };
      return this.#withTls || owner === name ? { peer: owner } : { refused: 'stranger' };
    }
    const peer = typeof name === 'string' && !this.#withTls ? tryParsePeerId(name) : undefined;
    const member = peer === undefined ? undefined : this.#members.get(peer);
    const isThere = member !== undefined && addressesOf(member).has(plainAddress(socket.remoteAddress));
    return this.#admit(socket, isThere ? member : undefined);
  }

  /** Whether the member at the other end is known. */
  knows(socket: Socket): boolean {
    return this.#owners.has(socket);
  }

  #admit(socket: Socket, member: Member | undefined): Verdict {
    if (member === undefined) return { refused: 'stranger' };
    const { peer } = member;
    if (this.#members.isBanned(peer)) return { refused: 'banned' };
    const sockets = this.#sockets.get(peer) ?? new Set();
    if (sockets.size >= MAX_PER_MEMBER) return { refused: 'too-many' };
    this.#sockets.set(peer, sockets.add(socket));
    this.#owners.set(socket, peer);
    this.#settle(socket.remoteAddress, socket.remotePort);
    socket.once('close', () => {
      sockets.delete(socket);
      if (sockets.size === 0 && this.#sockets.get(peer) === sockets) this.#sockets.delete(peer);
    });
    return { peer };
  }

  /** Cuts off peers that are banned or not members any more. */
  #review(): void {
    for (const [peer, sockets] of this.#sockets) {
      if (this.#members.get(peer) !== undefined && !this.#members.isBanned(peer)) continue;
      for (const socket of sockets) socket.destroy();
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
