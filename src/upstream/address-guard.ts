/**
 * Decides which addresses a request may be sent to. Pure: its callers bring the addresses, also those that a name
 * resolves to.
 *
 * Redirects and realms of registries, and other members, must not make this node call its own services or a cloud's
 * metadata service, whose answers are credentials. The address that is connected to counts. If it carries another
 * address (NAT64 and the like), that one counts, too.
 */
import { BlockList, isIP } from 'node:net';
import { WeirError } from '../util/errors.ts';

/** Most forbidden first: an address with several readings gets the first kind that fits one of them. */
const KINDS = ['metadata', 'link-local', 'unspecified', 'multicast', 'loopback', 'private'] as const;

/** `public`: none of the others. */
export type AddressKind = (typeof KINDS)[number] | 'public';

/** Address ranges, their kinds, and where that is written. */
const RANGES: readonly (readonly [network: string, kind: AddressKind, source: string])[] = [
  ['0.0.0.0/8', 'unspecified', 'RFC 791 3.2; Linux takes 0.0.0.0 for 127.0.0.1'],
  ['10.0.0.0/8', 'private', 'RFC 1918'],
  ['100.64.0.0/10', 'private', 'RFC 6598, shared by carriers and their customers'],
  ['100.100.100.200/32', 'metadata', 'Alibaba Cloud'],
  ['127.0.0.0/8', 'loopback', 'RFC 1122 3.2.1.3'],
  ['168.63.129.16/32', 'metadata', 'Azure, WireServer'],
  ['169.254.0.0/16', 'link-local', 'RFC 3927; the metadata service of nearly all clouds, 169.254.169.254'],
  ['172.16.0.0/12', 'private', 'RFC 1918'],
  ['192.0.0.192/32', 'metadata', 'Oracle Cloud'],
  ['192.168.0.0/16', 'private', 'RFC 1918'],
  ['198.18.0.0/15', 'private', 'RFC 2544'],
  ['224.0.0.0/4', 'multicast', 'RFC 5771'],
  ['240.0.0.0/4', 'private', 'RFC 1112 4; some clouds give them to machines'],
  ['255.255.255.255/32', 'multicast', 'RFC 919, broadcast'],
  ['::/128', 'unspecified', 'RFC 4291 2.5.2'],
  ['::1/128', 'loopback', 'RFC 4291 2.5.3'],
  ['fc00::/7', 'private', 'RFC 4193'],
  ['fd00:42::42/128', 'metadata', 'Scaleway'],
  ['fd00:ec2::/32', 'metadata', 'AWS: ::254, and ::23 with the credentials of pods'],
  ['fd20:ce::254/128', 'metadata', 'Google Cloud'],
  ['fe80::/10', 'link-local', 'RFC 4291 2.5.6'],
  ['fec0::/10', 'private', 'RFC 3879'],
  ['ff00::/8', 'multicast', 'RFC 4291 2.7'],
];

/** Names that mean such an address wherever they are resolved, also by a proxy. */
const NAMES: readonly (readonly [name: RegExp, kind: AddressKind, source: string])[] = [
  [/^(?:.*\.)?localhost$/, 'loopback', 'RFC 6761 6.3'],
  [/^(?:.*\.)?localhost\.localdomain$/, 'loopback', 'nss-myhostname(8)'],
  [/^(?:.*\.)?metadata\.google\.internal$/, 'metadata', 'Google Cloud'],
  [/^metadata\.goog$/, 'metadata', 'Google Cloud'],
  [/^instance-data(?:\.[a-z0-9-]+)?\.ec2\.internal$/, 'metadata', 'AWS'],
];

/** IPv6 addresses that carry an IPv4 address, to which the packets finally go. */
const CARRIERS: readonly (readonly [
  network: string,
  read: (bits: bigint) => readonly number[],
  source: string,
])[] = [
  ['::/96', (bits) => [low32(bits)], 'RFC 4291 2.5.5.1, IPv4-compatible'],
  ['::ffff:0:0/96', (bits) => [low32(bits)], 'RFC 4291 2.5.5.2, IPv4-mapped'],
  ['::ffff:0:0:0/96', (bits) => [low32(bits)], 'RFC 2765 2.1, IPv4-translated'],
  ['64:ff9b::/96', (bits) => [low32(bits)], 'RFC 6052 2.1, NAT64'],
  ['64:ff9b:1::/48', localNat64, 'RFC 8215, NAT64 within a network'],
  ['2001::/32', (bits) => [low32(bits >> 64n), low32(~bits)], 'RFC 4380 4, Teredo: server and client'],
  ['2002::/16', (bits) => [low32(bits >> 80n)], 'RFC 3056 2, 6to4'],
];

/** 1.0.0.0 and 224.0.0.0: addresses of hosts lie in between. */
const FIRST_UNICAST = 0x01_00_00_00;
const FIRST_MULTICAST = 0xe0_00_00_00;

/** How far a request may go, by who named the target. Each entry lists the allowed kinds. */
export const REACHES = {
  /** For targets that the operator configured. */
  anywhere: [...KINDS, 'public'],
  /** For targets that a caller of this node named: its runtime could reach those, too. */
  node: ['public', 'private', 'loopback'],
  network: ['public', 'private'],
  internet: ['public'],
  /** With `upstream.allow-private: no`, for targets that a registry on this machine named. */
  'internet and loopback': ['public', 'loopback'],
} as const satisfies Record<string, readonly AddressKind[]>;

export type Reach = keyof typeof REACHES;

const LISTS: ReadonlyMap<AddressKind, BlockList> = new Map(
  KINDS.map((kind) => [
    kind,
    blockList(RANGES.filter((range) => range[1] === kind).map(([network]) => network)),
  ]),
);
const CARRIER_LISTS = CARRIERS.map(([network, read]) => ({ list: blockList([network]), read }));

/** @param address IPv4 or IPv6, as a resolver gives it; anything else is `unspecified`, so that it is refused */
export function addressKind(address: string): AddressKind {
  const [bare = ''] = address.split('%'); // a zone (RFC 4007 11) does not change what the address is
  const family = isIP(bare);
  if (family === 0) return 'unspecified';
  const kind = listedKind(bare, family);
  if (kind !== 'public' || family === 4) return kind; // ::1 lies within ::/96, too, but carries no address
  const carried = new Set(carriedBy(bare).map((each) => listedKind(each, 4)));
  return KINDS.find((each) => carried.has(each)) ?? 'public';
}

/** The kind that the host of a URL shows by itself; undefined for a name that must be resolved. */
export function hostKind(hostname: string): AddressKind | undefined {
  const host = hostname
    .replace(/^\[(.+)\]$/, '$1')
    .replace(/(?<!\.)\.+$/, '') // from the first of several dots only: a name may be 32 KiB of them
    .toLowerCase();
  if (isIP(host) !== 0) return addressKind(host);
  return NAMES.find(([name]) => name.test(host))?.[1];
}

export function isAllowed(kind: AddressKind, reach: Reach): boolean {
  const allowed: readonly AddressKind[] = REACHES[reach];
  return allowed.includes(kind);
}

/** @throws WeirError `address_refused` if the host of `origin` by itself shows that it is beyond `reach` */
export function checkHost(origin: string, reach: Reach): void {
  const kind = hostKind(new URL(origin).hostname);
  if (kind !== undefined && !isAllowed(kind, reach)) throw addressRefused(origin, kind, reach);
}

/** @param address to which the host of `origin` resolves, if it is a name */
export function addressRefused(origin: string, kind: AddressKind, reach: Reach, address?: string): WeirError {
  const { host } = new URL(origin);
  const what = kind === 'metadata' ? 'that of a metadata service' : kind;
  const who = reach === 'node' ? 'no caller' : 'no registry and no member';
  const setting = kind === 'private' ? 'upstream.allow-private: yes, or ' : '';
  return new WeirError(
    'address_refused',
    `${origin} is refused: its address${address === undefined ? '' : ` ${address}`} is ${what}, and ${who} may lead ` +
      `there; to allow it, set ${setting}an entry registries."${host}"`,
    { detail: { origin, kind } },
  );
}

function listedKind(address: string, family: number): AddressKind {
  const type = family === 4 ? 'ipv4' : 'ipv6';
  return KINDS.find((kind) => LISTS.get(kind)?.check(address, type)) ?? 'public';
}

function carriedBy(address: string): readonly string[] {
  const reads = CARRIER_LISTS.filter(({ list }) => list.check(address, 'ipv6'));
  if (reads.length === 0) return [];
  const bits = bitsOf(address);
  return reads.flatMap(({ read }) => read(bits)).map(formatIPv4);
}

/**
 * The four places where RFC 6052 2.2 lets a translator of this prefix put the address. All but the last may also hold
 * the number of a subnet, such as `0` or `fffe`: values that no machine has in IPv4 are not counted there.
 */
function localNat64(bits: bigint): readonly number[] {
  // None of them uses bits 64 to 71.
  const joined = ((bits >> 64n) << 56n) | BigInt.asUintN(56, bits);
  const elsewhere = [48n, 56n, 64n].map((prefix) => low32(joined >> (120n - prefix - 32n)));
  return [
    ...elsewhere.filter((address) => address >= FIRST_UNICAST && address < FIRST_MULTICAST),
    low32(bits),
  ];
}

function blockList(networks: readonly string[]): BlockList {
  const list = new BlockList();
  for (const network of networks) {
    const [address = '', prefix] = network.split('/');
    list.addSubnet(address, Number(prefix), isIP(address) === 4 ? 'ipv4' : 'ipv6');
  }
  return list;
}

/** The 128 bits of an IPv6 address. */
function bitsOf(address: string): bigint {
  // WHATWG URLs write it in lower case, without dotted decimals, with at most one `::`.
  const canonical = new URL(`http://[${address}]`).hostname.slice(1, -1);
  const [head = [], tail = []] = canonical.split('::').map((part) => part.split(':').filter(Boolean));
  const zeros = Array<string>(8 - head.length - tail.length).fill('0');
  const groups = [...head, ...zeros, ...tail].map((group) => group.padStart(4, '0'));
  return BigInt(`0x${groups.join('')}`);
}

function low32(bits: bigint): number {
  return Number(BigInt.asUintN(32, bits));
}

function formatIPv4(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 0xff).join('.');
}
