/** Addresses: where to listen, what to announce, and which peers to ask first. */
import { lookup } from 'node:dns/promises';
import { isIP, isIPv6 } from 'node:net';
import { WeirError } from '../util/errors.ts';
import { tryParsePeerId, type PeerId } from '../protocol/peer-id.ts';
import { isControlAddress, RECORD_LIMITS } from '../protocol/signed-record.ts';
import { MAX_BOOTSTRAP_ADDRESSES } from './limits.ts';

export interface ListenAddress {
  /** IP address without brackets. */
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
}

/** An address by which a node finds its first neighbours. */
export interface BootstrapEntry {
  /** IP address or DNS name. */
  readonly host: string;
  readonly port: number;
  /** Set if the address ends in `/p2p/…`. */
  readonly peer: PeerId | undefined;
}

/** All addresses of a DNS name. Injected, so that tests need no DNS. */
export type Lookup = (name: string) => Promise<readonly string[]>;

const MULTIADDR = /^\/(?:ip4|ip6|dns|dns4|dns6)\/([^/]+)\/tcp\/([0-9]{1,5})(?:\/p2p\/([^/]+))?$/;
const HOST_AND_PORT = /^(?:\[([0-9a-f:.]+)\]|([^:[\]/\s]+)):([0-9]{1,5})$/i;

/** Both families, by the system's resolver: users expect search domains and /etc/hosts to count. */
export const systemLookup: Lookup = async (name) => {
  const found = await lookup(name, { all: true, order: 'verbatim' });
  return found.map(({ address }) => address);
};

/** A multiaddr, or host:port. @throws WeirError `config_invalid` */
export function parseBootstrap(text: string): BootstrapEntry {
  const [, host, port, peerText] = MULTIADDR.exec(text) ?? [];
  if (host !== undefined && isPort(port)) {
    const peer = peerText === undefined ? undefined : tryParsePeerId(peerText);
    if (peerText === undefined || peer !== undefined) return { host, port: Number(port), peer };
  }
  const [, ipv6, other, plainPort] = HOST_AND_PORT.exec(text) ?? [];
  const name = ipv6 ?? other;
  if (name === undefined || !isPort(plainPort) || (ipv6 !== undefined && !isIPv6(ipv6))) {
    throw new WeirError(
      'config_invalid',
      `not a bootstrap address: ${JSON.stringify(text.slice(0, 300))} ` +
        '(allowed: host:port, [IPv6]:port, /ip4/…/tcp/…, /ip6/…/tcp/…, /dns/…/tcp/…, each with /p2p/… or without)',
    );
  }
  return { host: name, port: Number(plainPort), peer: undefined };
}

/** The multiaddrs that an entry stands for now; a name may have many. */
export async function resolveBootstrap(entry: BootstrapEntry, find: Lookup): Promise<readonly string[]> {
  const hosts = isIP(entry.host) === 0 ? await find(entry.host) : [entry.host];
  return hosts
    .filter((host) => isIP(host) !== 0)
    .slice(0, MAX_BOOTSTRAP_ADDRESSES)
    .map((host) => toMultiaddr(host, entry.port) + (entry.peer === undefined ? '' : `/p2p/${entry.peer}`));
}

export function toMultiaddr(host: string, port: number): string {
  return `/${isIPv6(host) ? 'ip6' : 'ip4'}/${host}/tcp/${port}`;
}

/**
 * The addresses that others are told to dial: the configured ones, or else those that this node listens on.
 * @param announce IP (with the port listened on), IP:port, [IPv6]:port, or multiaddr
 * @param listening multiaddrs, with all interfaces listed
 * @throws WeirError `config_invalid`
 */
export function announced(announce: readonly string[], listening: readonly string[]): readonly string[] {
  const own = listening.map((address) => address.replace(/\/p2p\/[^/]+$/, '')).filter(isControlAddress);
  if (announce.length > 0) {
    return [...new Set(announce.map((text) => announcedOne(text, own)))].slice(0, RECORD_LIMITS.addresses);
  }
  const reachable = own.filter((address) => !isLinkLocal(address));
  const beyondLoopback = reachable.filter((address) => !isLoopback(address));
  // A node that listens only on loopback has only neighbours on this machine.
  return (beyondLoopback.length > 0 ? beyondLoopback : reachable).slice(0, RECORD_LIMITS.addresses);
}

function announcedOne(text: string, own: readonly string[]): string {
  if (isIP(text) !== 0) {
    const family = isIPv6(text) ? '/ip6/' : '/ip4/';
    const like = own.find((address) => address.startsWith(family)) ?? own[0];
    return toMultiaddr(text, Number(like?.split('/').at(-1) ?? 0));
  }
  const { host, port } = parseBootstrap(text);
  if (isIP(host) !== 0) return toMultiaddr(host, port);
  const address = `/dns/${host}/tcp/${port}`;
  if (isControlAddress(address)) return address;
  throw new WeirError('config_invalid', `not an address to announce: ${JSON.stringify(text.slice(0, 300))}`);
}

export function isLoopback(address: string): boolean {
  return /^\/ip4\/127\.|^\/ip6\/::1\//.test(address);
}

/** The same address means another machine on each network. */
function isLinkLocal(address: string): boolean {
  return /^\/ip4\/169\.254\.|^\/ip6\/fe[89ab][0-9a-f]:/i.test(address);
}

function isPort(text: string | undefined): boolean {
  return text !== undefined && Number(text) >= 1 && Number(text) <= 65_535;
}
