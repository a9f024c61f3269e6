/**
 * Who may speak at the data port: members that are not banned, each over a bounded number of connections.
 *
 * With TLS the certificate says who it is. Without it the name in a header does, and the address that it comes from
 * must be one that this member's record names: that trusts the network not to forge addresses.
 */
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { Membership } from '../cluster/membership.ts';
import type { Member } from '../protocol/member.ts';
import { tryParsePeerId, type PeerId } from '../protocol/peer-id.ts';
import { addressOf, placeOf } from '../util/ip-address.ts';
import { fingerprintOf, nameIn } from './certificate.ts';

/** Connections of one member: the 8 of its client, and as many that it gave up and that are not closed here yet. */
const MAX_PER_MEMBER = 16;
/**
 * Connections from one place (an IPv4 address, a /64 of IPv6) that have not said yet whose they are. Behind one address
 * may be a dozen nodes that begin a pull together; a stranger must not take all the connections that this port has.
 */
const MAX_PENDING = 256;
/** The same of all places together: the rest is kept for addresses that members' records name. */
const MAX_PENDING_STRANGERS = 512;

export type Refusal = 'no-certificate' | 'stranger' | 'banned' | 'too-many';

/** A member, or why not. */
export type Verdict = { readonly peer: PeerId } | { readonly refused: Refusal };

export type KnownMembers = Pick<Membership, 'get' | 'isBanned' | 'names' | 'onChange'>;

export class Admission implements Disposable {
  readonly #members: KnownMembers;
  readonly #withTls: boolean;
  /** By address and port, as the sockets of TCP and of TLS on top of it are two objects: where each is counted. */
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

  /** Connections that are known to be of members. */
  get connections(): number {
    return this.#sockets.values().reduce((sum, sockets) => sum + sockets.size, 0);
  }

  [Symbol.dispose](): void {
    this.#unsubscribe();
  }

  /** Counts a connection that has not said whose it is. @returns false where it is one too many */
  begin(socket: Socket): boolean {
    const { remoteAddress = '', remotePort = 0 } = socket;
    const isKnown = this.#members.names(remoteAddress);
    if (!isKnown && this.#pending.size >= MAX_PENDING_STRANGERS) return false;
    // An address of a member is a place of its own, or a stranger in the same /64 would keep the members there out.
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
   * Whose a connection is whose handshake is over: the member that the certificate names, if that one names the
   * certificate. Who copies a fingerprint into its own record is not named in it; who makes a certificate with another's
   * name has another fingerprint.
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

  /** Who sends a request over this connection. @param name what it says of itself, where there is no TLS */
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

  /** Whether it is known whose connection this is. */
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

  /** Cuts off whom a change of the membership has put out. */
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
