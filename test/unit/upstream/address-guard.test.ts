import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import * as fc from 'fast-check';
import {
  addressKind,
  hostKind,
  isAllowed,
  REACHES,
  type AddressKind,
  type Reach,
} from '../../../src/upstream/address-guard.ts';

/** An IPv4 address as a number of 32 bits, within a network. */
function within(network: string): fc.Arbitrary<number> {
  const [address = '', prefix = '32'] = network.split('/');
  const base = address.split('.').reduce((bits, byte) => bits * 256 + Number(byte), 0);
  return fc.integer({ min: 0, max: 2 ** (32 - Number(prefix)) - 1 }).map((rest) => base + rest);
}

const REFUSED = fc.oneof(
  ...['127.0.0.0/8', '169.254.0.0/16', '100.100.100.200/32', '192.0.0.192/32', '168.63.129.16/32'].map(
    within,
  ),
);
const PUBLIC = fc.oneof(...['8.8.8.0/24', '1.1.1.0/24', '151.101.0.0/16', '52.0.0.0/8'].map(within));

function bytes(address: number): readonly number[] {
  return [24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256);
}

function dotted(address: number): string {
  return bytes(address).join('.');
}

/** All spellings of the four parts of an address that inet_aton(3), and with it a URL, accepts. */
const spelledIPv4 = (address: number): fc.Arbitrary<string> => {
  const [a = 0, b = 0, c = 0, d = 0] = bytes(address);
  const groups = [[a, b, c, d], [a, b, c * 256 + d], [a, (b * 256 + c) * 256 + d], [address]];
  const number = (value: number): fc.Arbitrary<string> =>
    fc.constantFrom(
      String(value),
      `0x${value.toString(16)}`,
      `0X${value.toString(16)}`,
      `0${value.toString(8)}`,
    );
  return fc
    .constantFrom(...groups)
    .chain((parts) => fc.tuple(...parts.map(number)))
    .chain((parts) => fc.constantFrom('', '.').map((end) => parts.join('.') + end));
};

/** The groups of an IPv6 address: short and long, with and without zeros, in both cases. */
const spelledIPv6 = (groups: readonly number[]): fc.Arbitrary<string> => {
  const written = groups.map((group) => group.toString(16));
  const last = groups.slice(6).flatMap((group) => [group >> 8, group & 255]);
  const start = written.findIndex((group, i) => group === '0' && written[i + 1] === '0');
  let end = start;
  while (written[end] === '0') end++;
  const short =
    start === -1
      ? written.join(':')
      : `${written.slice(0, start).join(':')}::${written.slice(end).join(':')}`;
  return fc.constantFrom(
    written.join(':'),
    written.join(':').toUpperCase(),
    written.map((group) => group.padStart(4, '0')).join(':'),
    `${written.slice(0, 6).join(':')}:${last.join('.')}`,
    short,
  );
};

/** The IPv6 addresses that lead to an IPv4 one: templates with its 32 bits at these places. */
function carriers(address: number): readonly (readonly number[])[] {
  const [a = 0, b = 0, c = 0, d = 0] = bytes(address);
  const [high, low] = [a * 256 + b, c * 256 + d];
  return [
    [0, 0, 0, 0, 0, 0, high, low],
    [0, 0, 0, 0, 0, 0xffff, high, low],
    [0, 0, 0, 0, 0xffff, 0, high, low],
    [0x64, 0xff9b, 0, 0, 0, 0, high, low],
    [0x64, 0xff9b, 1, 0, 0, 0, high, low],
    [0x64, 0xff9b, 1, 0xfffe, 0, 0, high, low],
    [0x64, 0xff9b, 1, high, c, d * 256, 0, 0],
    [0x64, 0xff9b, 1, a, b, c * 256 + d, 0, 0].map((group, i) => (i === 3 ? a : i === 4 ? 0 : group)),
    [0x2002, high, low, 0, 0, 0, 0, 1],
    [0x2001, 0, high, low, 0x8000, 0xffff, 0xf7f7, 0xf7f7],
    [0x2001, 0, 0x0808, 0x0808, 0, 0xffff, high ^ 0xffff, low ^ 0xffff],
  ];
}

/** The kind of a URL with this host. */
function kindInUrl(host: string): AddressKind | undefined {
  const url = URL.parse(`https://${host}/`);
  assert.ok(url !== null, `not a URL: ${host}`);
  return hostKind(url.hostname);
}

const FOR_OTHERS = ['network', 'internet'] as const satisfies readonly Reach[];

function assertRefused(kind: AddressKind | undefined, what: string): void {
  for (const reach of FOR_OTHERS)
    assert.ok(
      kind !== undefined && !isAllowed(kind, reach),
      `${what} is ${inspect(kind)}, allowed in ${reach}`,
    );
}

describe('upstream: address guard', () => {
  it('refuses an IPv4 address in every spelling that a URL accepts', () => {
    fc.assert(
      fc.property(
        REFUSED.chain((address) => spelledIPv4(address).map((text) => ({ address, text }))),
        ({ address, text }) => {
          assert.equal(kindInUrl(text), addressKind(dotted(address)), text);
          assertRefused(kindInUrl(text), text);
        },
      ),
    );
  });

  it('refuses an IPv6 address that carries a refused one, in every spelling', () => {
    fc.assert(
      fc.property(
        REFUSED.chain((address) =>
          fc.constantFrom(...carriers(address)).chain((groups) => spelledIPv6(groups)),
        ),
        (text) => {
          assertRefused(kindInUrl(`[${text}]`), text);
          assertRefused(addressKind(text), text);
        },
      ),
      { numRuns: 1000 },
    );
  });

  it('recognises public addresses, also carried ones', () => {
    fc.assert(
      fc.property(
        PUBLIC.chain((address) =>
          fc.constantFrom(dotted(address), ...carriers(address).slice(1, 6).map(plain)),
        ),
        (text) => assert.equal(addressKind(text), 'public', text),
      ),
    );
  });

  it('knows each range from its first address to its last, and no further', () => {
    const expected: readonly (readonly [AddressKind, ...string[]])[] = [
      ['unspecified', '0.0.0.0', '0.255.255.255', '::'],
      ['loopback', '127.0.0.0', '127.255.255.255', '::1'],
      [
        'link-local',
        '169.254.0.0',
        '169.254.169.254',
        '169.254.255.255',
        'fe80::',
        'fe80::1%eth0',
        'febf::1',
      ],
      ['metadata', '100.100.100.200', '192.0.0.192', '168.63.129.16', 'fd00:ec2::254', 'fd00:ec2::23'],
      ['metadata', 'fd20:ce::254', 'fd00:42::42'],
      ['multicast', '224.0.0.0', '239.255.255.255', '255.255.255.255', 'ff02::1'],
      [
        'private',
        '10.0.0.0',
        '10.255.255.255',
        '172.16.0.0',
        '172.31.255.255',
        '192.168.0.0',
        '192.168.255.255',
      ],
      ['private', '100.64.0.0', '100.127.255.255', '240.0.0.1', 'fc00::', 'fdff::1', 'fec0::1', '198.19.0.1'],
      ['public', '1.0.0.0', '9.255.255.255', '11.0.0.0', '126.255.255.255', '128.0.0.0', '169.253.255.255'],
      [
        'public',
        '169.255.0.0',
        '172.15.255.255',
        '172.32.0.0',
        '100.63.255.255',
        '100.128.0.0',
        '192.0.0.191',
      ],
      ['public', '223.255.255.255', '2606:4700::1111', 'fe00::1', '2003::1', '64:ff9b::808:808'],
      // Text that is neither is refused.
      ['unspecified', '', 'localhost', '127.1', '1.2.3.4.5'],
    ];
    for (const [kind, ...addresses] of expected)
      for (const address of addresses) assert.equal(addressKind(address), kind, address);
  });

  it('knows names that always mean this machine or a metadata service', () => {
    const loopback = [
      'localhost',
      'localhost.',
      '.localhost',
      'LocalHost',
      'x.localhost',
      'a.b.localhost.',
      'localhost.localdomain',
    ];
    for (const name of loopback) assert.equal(kindInUrl(name), 'loopback', name);
    for (const name of [
      'metadata.google.internal',
      'metadata.google.internal.',
      'instance-data.ec2.internal',
    ])
      assert.equal(kindInUrl(name), 'metadata', name);
    for (const name of ['localhost.test', 'notlocalhost', 'xlocalhost', 'a.test', '127.0.0.1.nip.io'])
      assert.equal(kindInUrl(name), undefined, name);
  });

  it('takes linear time for a name with many dots', () => {
    const start = performance.now();
    assert.equal(hostKind(`${'.'.repeat(100_000)}a`), undefined);
    assert.equal(hostKind(`127.0.0.1${'.'.repeat(100_000)}`), 'loopback');
    const took = performance.now() - start;
    assert.ok(took < 500, `${took.toFixed(0)} ms`);
  });

  it('lets only the operator name metadata services and text that is no host', () => {
    for (const reach of Object.keys(REACHES) as Reach[]) {
      assert.ok(isAllowed('public', reach));
      for (const kind of ['metadata', 'link-local', 'unspecified', 'multicast'] as const)
        assert.equal(isAllowed(kind, reach), reach === 'anywhere', `${kind} in ${reach}`);
    }
    for (const reach of FOR_OTHERS) assert.ok(!isAllowed('loopback', reach));
    assert.ok(!isAllowed('private', 'internet') && !isAllowed('private', 'internet and loopback'));
  });
});

function plain(groups: readonly number[]): string {
  return groups.map((group) => group.toString(16)).join(':');
}
