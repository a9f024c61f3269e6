/** Checks the addresses of peers and the names of this machine that operators write; network/ uses them. */
import { isIP, isIPv4, isIPv6 } from 'node:net';
import { tryParsePeerId } from '../protocol/peer-id.ts';

const MAX_PORT = 65_535;
const MULTIADDR =
  /^\/(?:ip4\/([\d.]+)|ip6\/([0-9a-fA-F:]+)|dns[46]?\/([\w.-]+))\/tcp\/(\d{1,5})(?:\/p2p\/(\w+))?$/;
const HOST_PORT = /^(\[[0-9a-fA-F:]+\]|[^:[\]/\s]+):(\d{1,5})$/;
const NAME = /^[a-zA-Z0-9](?:[a-zA-Z0-9_.-]{0,251}[a-zA-Z0-9.])?$/;

/** @throws Error with the problem in words that follow the value */
export function readBootstrap(text: string): string {
  return text.startsWith('/') ? readMultiaddr(text) : readHostPort(text);
}

/** @throws Error with the problem in words that follow the value */
export function readAnnounced(text: string): string {
  if (isIP(text) !== 0) return text;
  if (text.startsWith('/')) return readMultiaddr(text);
  const [, host = ''] = HOST_PORT.exec(text) ?? [];
  if (isIP(host.replaceAll(/[[\]]/g, '')) === 0) throw new Error('is no IP address, with or without a port');
  return readHostPort(text);
}

/** @throws Error with the problem in words that follow the value */
export function readPeer(text: string): string {
  if (tryParsePeerId(text) === undefined) throw new Error('is no peer ID (12D3KooW…, 52 characters)');
  return text;
}

function readMultiaddr(text: string): string {
  const [whole, ip4, ip6, name, port, peer] = MULTIADDR.exec(text) ?? [];
  if (whole === undefined) throw new Error('is no TCP multiaddr, such as /ip4/10.0.0.7/tcp/4772');
  if (ip4 !== undefined && !isIPv4(ip4)) throw new Error('has no IPv4 address');
  if (ip6 !== undefined && !isIPv6(ip6)) throw new Error('has no IPv6 address');
  if (name !== undefined && !NAME.test(name)) throw new Error('has no DNS name');
  if (peer !== undefined) readPeer(peer);
  checkPort(port);
  return text;
}

function readHostPort(text: string): string {
  const [, host, port] = HOST_PORT.exec(text) ?? [];
  if (host === undefined) throw new Error('has no port; write host:port');
  const isAddress = isIP(host.replaceAll(/[[\]]/g, '')) !== 0;
  if (!isAddress && !NAME.test(host)) throw new Error('has no IP address or DNS name before its port');
  checkPort(port);
  return text;
}

function checkPort(port: string | undefined): void {
  if (Number(port) < 1 || Number(port) > MAX_PORT) throw new Error(`has no port from 1 to ${MAX_PORT}`);
}

const HOST_NAME = /^[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_.])?$/i;
const BRACKETS = /^\[(.*)\]$/;

/** @returns the name, or the address without brackets @throws Error with the problem in words that follow the value */
export function readHostName(text: string): string {
  const host = text.replace(BRACKETS, '$1');
  if (isIP(host) !== 0) return host;
  if (/:\d+$/.test(text)) throw new Error('has a port; write it without, as any port will do');
  if (!HOST_NAME.test(text)) throw new Error('is no name and no IP address');
  return text;
}
