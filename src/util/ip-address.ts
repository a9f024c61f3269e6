/**
 * IP addresses: one spelling for each, and the place by which bounds count.
 *
 * Bounds count by place, because peer IDs are free and addresses are not. An IPv4 address is one place. So is a
 * whole /64 of IPv6, because a single host has every address of it.
 */
import { BlockList, isIP, SocketAddress, isIPv4, isIPv6 } from 'node:net';

const LOOPBACK: BlockList = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8);
LOOPBACK.addAddress('::1', 'ipv6');

/** The form of an IPv4 address at a socket that listens on both families (RFC 4291, section 2.5.5.2). */
const MAPPED = /^::ffff:(?=[\d.]+$)/i;

/** One spelling of an address: compressed, without a zone, IPv4 as such; undefined if it is no address. */
export function plainAddress(address: string): string | undefined {
  switch (isIP(address)) {
    case 4:
      return address;
    case 6:
      return new SocketAddress({ address, family: 'ipv6' }).address.replace(MAPPED, '');
    default:
      return undefined;
  }
}

/** @param address undefined, as of a closed socket, is no loopback address */
export function isLoopback(address: string | undefined): boolean {
  const plain = address === undefined ? undefined : plainAddress(address);
  return plain !== undefined && LOOPBACK.check(plain, isIP(plain) === 4 ? 'ipv4' : 'ipv6');
}

/** Groups of 16 bits in an IPv6 address, and in its /64. */
const GROUPS = 8;
const NETWORK_GROUPS = 4;
const MULTIADDR = /^\/(?:ip4|ip6|dns|dns4|dns6)\/([^/]+)\/tcp\/([0-9]+)$/;

export interface Endpoint {
  /** In the spelling of {@link addressOf}. */
  readonly address: string;
  readonly port: string;
}

/** One spelling of an IP address (IPv6 with all eight groups), or a name in lower case. */
export function addressOf(host: string): string {
  const mapped = host.replace(MAPPED, '');
  if (isIPv4(mapped)) return mapped;
  const [address = ''] = host.split('%');
  return isIPv6(address) ? groupsOf(address).join(':') : host.toLowerCase();
}

/** The place of an IP address or a name. */
export function placeOf(host: string): string {
  const address = addressOf(host);
  if (!isIPv6(address)) return address;
  return `${address.split(':').slice(0, NETWORK_GROUPS).join(':')}::/64`;
}

/** The host, as it is written, and the port in a TCP multiaddr; undefined if it is another one. */
export function hostPortOf(multiaddr: string): { readonly host: string; readonly port: string } | undefined {
  const [, host, port] = MULTIADDR.exec(multiaddr) ?? [];
  return host === undefined || port === undefined ? undefined : { host, port };
}

/** The addresses and ports in a member's multiaddrs. */
export function endpointsOf(multiaddrs: readonly string[]): readonly Endpoint[] {
  return multiaddrs
    .map(hostPortOf)
    .filter((found) => found !== undefined)
    .map(({ host, port }) => ({ address: addressOf(host), port }));
}

/** The places in a member's multiaddrs, each once. */
export function placesOf(multiaddrs: readonly string[]): readonly string[] {
  return [...new Set(endpointsOf(multiaddrs).map(({ address }) => placeOf(address)))];
}

/** Whether only programs of this machine can be at this address or name, in any spelling. */
export function isLoopbackHost(host: string): boolean {
  return host.toLowerCase() === 'localhost' || isLoopback(host);
}

/** All eight groups, without leading zeros. */
function groupsOf(address: string): readonly string[] {
  const [head = '', tail] = address.split('::');
  const before = head === '' ? [] : head.split(':').flatMap(groupsOfPart);
  const after = tail === undefined || tail === '' ? [] : tail.split(':').flatMap(groupsOfPart);
  const zeros = tail === undefined ? 0 : GROUPS - before.length - after.length;
  return [...before, ...Array.from({ length: zeros }, () => '0'), ...after];
}

/** One group; or two, for the last 32 bits, which may be written as an IPv4 address. */
function groupsOfPart(part: string): readonly string[] {
  if (!part.includes('.')) return [Number.parseInt(part, 16).toString(16)];
  const [a = 0, b = 0, c = 0, d = 0] = part.split('.').map(Number);
  return [(a * 256 + b).toString(16), (c * 256 + d).toString(16)];
}
