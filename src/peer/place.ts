/**
 * Where somebody is, for bounds that count by source: names of peers cost nothing, addresses do. An IPv4 address is one
 * place. So is a whole /64 of IPv6, of which a single host has every address.
 */
import { isIPv4, isIPv6 } from 'node:net';

/** Groups of 16 bits in an IPv6 address, and those that name its /64. */
const GROUPS = 8;
const NETWORK_GROUPS = 4;
/** An IPv4 address as a socket for both families shows it. */
const MAPPED = /^::ffff:([0-9.]+)$/i;
const MULTIADDR = /^\/(?:ip4|ip6|dns|dns4|dns6)\/([^/]+)\//;

/** The place of an IP address or a name; the text itself where it is neither. */
export function placeOf(host: string): string {
  const mapped = MAPPED.exec(host)?.[1];
  if (mapped !== undefined && isIPv4(mapped)) return mapped;
  const [address = ''] = host.split('%');
  return isIPv6(address) ? `${networkOf(address)}::/64` : host.toLowerCase();
}

/** The places that a member's multiaddrs name, each once. */
export function placesOf(addresses: readonly string[]): readonly string[] {
  return [...new Set(addresses.flatMap((address) => MULTIADDR.exec(address)?.[1] ?? []).map(placeOf))];
}

/** The first half, its groups without leading zeros. */
function networkOf(address: string): string {
  const [head = '', tail] = address.split('::');
  const before = head === '' ? [] : head.split(':');
  const after = tail === undefined || tail === '' ? [] : tail.split(':');
  // The last 32 bits may be written as an IPv4 address: one group in the text for two.
  const dotted = address.includes('.') ? 1 : 0;
  const zeros = tail === undefined ? 0 : GROUPS - before.length - after.length - dotted;
  const groups = [...before, ...Array.from({ length: zeros }, () => '0'), ...after];
  return groups
    .slice(0, NETWORK_GROUPS)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':');
}
