/** IP addresses as sockets and Host headers write them. */
import { BlockList, isIP, SocketAddress } from 'node:net';

const LOOPBACK: BlockList = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8);
LOOPBACK.addAddress('::1', 'ipv6');

/** A socket that listens on both families shows IPv4 addresses so (RFC 4291, section 2.5.5.2). */
const MAPPED = /^::ffff:(?=[\d.]+$)/;

/** One spelling for each address: compressed, without a zone, IPv4 as such; undefined for what is none. */
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

/** @param address an IP address; undefined, as of a socket that is gone, is none */
export function isLoopback(address: string | undefined): boolean {
  const plain = address === undefined ? undefined : plainAddress(address);
  return plain !== undefined && LOOPBACK.check(plain, isIP(plain) === 4 ? 'ipv4' : 'ipv6');
}
