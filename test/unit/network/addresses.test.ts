import assert from 'node:assert/strict';
import { isWeirError } from '../../../src/util/errors.ts';
import { announced, parseBootstrap, resolveBootstrap } from '../../../src/network/addresses.ts';
import { clusterTag, noisePrologue } from '../../../src/network/cluster-keys.ts';
import { Identity } from '../../../src/protocol/identity.ts';

const isInvalid = (error: unknown): boolean => isWeirError(error, 'config_invalid');
const { peer } = Identity.generate();
const find = async (): Promise<readonly string[]> => ['10.0.0.1', 'fd00::1', 'nonsense'];

describe('bootstrap addresses', () => {
  it('accept host:port and multiaddrs', () => {
    const cases: readonly (readonly [string, string, number])[] = [
      ['weir.default.svc:4774', 'weir.default.svc', 4774],
      ['10.0.0.1:1', '10.0.0.1', 1],
      ['[fd00::1]:65535', 'fd00::1', 65_535],
      ['/ip4/10.0.0.1/tcp/1', '10.0.0.1', 1],
      ['/ip6/::1/tcp/2', '::1', 2],
      ['/dns4/weir/tcp/3', 'weir', 3],
    ];
    for (const [text, host, port] of cases) {
      assert.deepEqual(parseBootstrap(text), { host, port, peer: undefined });
    }
    assert.equal(parseBootstrap(`/dns/weir/tcp/3/p2p/${peer}`).peer, peer);
  });

  it('refuse other forms', () => {
    const wrong = [
      '',
      'weir',
      'weir:0',
      'weir:65536',
      'weir:x',
      '::1:5',
      '[weir]:5',
      '/ip4/1.2.3.4/udp/1',
      '/ip4/1.2.3.4/tcp/1/p2p/x',
      'http://weir:1',
    ];
    for (const text of wrong) assert.throws(() => parseBootstrap(text), isInvalid, text);
  });

  it('resolve to all addresses of their name', async () => {
    assert.deepEqual(await resolveBootstrap(parseBootstrap('weir:5'), find), [
      '/ip4/10.0.0.1/tcp/5',
      '/ip6/fd00::1/tcp/5',
    ]);
    const named = parseBootstrap(`/dns/weir/tcp/5/p2p/${peer}`);
    assert.equal((await resolveBootstrap(named, find))[0], `/ip4/10.0.0.1/tcp/5/p2p/${peer}`);
    assert.deepEqual(await resolveBootstrap(parseBootstrap('1.2.3.4:5'), () => assert.fail()), [
      '/ip4/1.2.3.4/tcp/5',
    ]);
  });
});

describe('announced addresses', () => {
  const listening = [
    '/ip4/127.0.0.1/tcp/7',
    '/ip4/10.0.0.5/tcp/7',
    '/ip4/169.254.1.1/tcp/7',
    '/ip6/::1/tcp/8',
    '/ip6/fe80::1/tcp/8',
    '/ip6/fd00::5/tcp/8',
  ];

  it('are those that others can reach', () => {
    assert.deepEqual(announced([], listening), ['/ip4/10.0.0.5/tcp/7', '/ip6/fd00::5/tcp/8']);
    assert.deepEqual(announced([], ['/ip4/127.0.0.1/tcp/7', '/ip6/::1/tcp/8']), [
      '/ip4/127.0.0.1/tcp/7',
      '/ip6/::1/tcp/8',
    ]);
    assert.deepEqual(announced([], []), []);
  });

  it('are the configured ones if there are any', () => {
    assert.deepEqual(
      announced(
        ['1.2.3.4', 'fd00::9', '1.2.3.4:99', '[fd00::9]:99', '/dns4/node/tcp/5', 'node:6'],
        listening,
      ),
      [
        '/ip4/1.2.3.4/tcp/7',
        '/ip6/fd00::9/tcp/8',
        '/ip4/1.2.3.4/tcp/99',
        '/ip6/fd00::9/tcp/99',
        '/dns/node/tcp/5',
        '/dns/node/tcp/6',
      ],
    );
    assert.throws(() => announced(['nonsense'], listening), isInvalid);
  });

  it('are at most eight', () => {
    const many = Array.from({ length: 20 }, (_, i) => `/ip4/10.0.0.${i + 1}/tcp/7`);
    assert.equal(announced([], many).length, 8);
  });
});

describe('values derived from the cluster key', () => {
  const key = new Uint8Array(32).fill(1);

  it('differ by key and use, and do not reveal the key', () => {
    const values = [noisePrologue(key), noisePrologue(new Uint8Array(32)), noisePrologue(undefined)].map(
      (bytes) => Buffer.from(bytes).toString('hex'),
    );
    assert.equal(new Set(values.slice(0, 2)).size, 2);
    assert.ok(values.every((value) => value.length === 64 && !value.includes('010101')));
    assert.notEqual(clusterTag(key), clusterTag(undefined));
    assert.match(clusterTag(key), /^[0-9a-f]{8}$/);
    assert.ok(!values[0]?.startsWith(clusterTag(key)));
  });

  it('stay the same from version to version (golden)', () => {
    assert.equal(Buffer.from(noisePrologue(key)).toString('hex').slice(0, 16), '23a8eba863a00ce4');
  });
});
