/** Real networks on loopback, several in this process. */
import assert from 'node:assert/strict';
import { ClusterKeys } from '../../../src/network/cluster-keys.ts';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import os from 'node:os';
import { createInterface } from 'node:readline';
import { systemClock, type Clock } from '../../../src/util/clock.ts';
import { isWeirError, WeirError, type ErrorCode } from '../../../src/util/errors.ts';
import { digestOf } from '../../../src/oci/digest.ts';
import { Identity } from '../../../src/protocol/identity.ts';
import type { PeerId } from '../../../src/protocol/peer-id.ts';
import { dataAddresses as dataAddressesOf } from '../../../src/daemon/cluster-settings.ts';
import { ADDRESS_INTERVAL } from '../../../src/network/limits.ts';
import { cidOf } from '../../../src/network/content-routing.ts';
import { signMember } from '../../../src/protocol/signed-record.ts';
import { eventually } from '../../support/eventually.ts';
import { KEY, startNetwork, until, type TestNetwork, type TestOptions } from '../../support/test-network.ts';

const failsWith =
  (code: ErrorCode) =>
  (error: unknown): boolean =>
    isWeirError(error, code) || assert.fail(String(error));

const knows = ({ table }: TestNetwork, { peer }: TestNetwork): boolean =>
  table.live().some((member) => member.peer === peer);

/** The end of the present suspicion, by the wall clock. */
const suspectedUntil = ({ table }: TestNetwork, peer: PeerId): number =>
  table.suspects().find((suspect) => suspect.peer === peer)?.until ?? assert.fail('it is not suspected');

/** Time passes a hundred times as fast for sleepers on this clock. */
const fast: Clock = {
  ...systemClock,
  monotonic: () => systemClock.monotonic() * 100,
  sleep: (ms, options) => systemClock.sleep(ms / 100, options),
};

describe('Network', function () {
  this.timeout(30_000);
  let stack: AsyncDisposableStack;
  const start = async (options: TestOptions = {}): Promise<TestNetwork> =>
    stack.use(await startNetwork(options));
  const startPair = async (a: TestOptions = {}, b: TestOptions = {}): Promise<[TestNetwork, TestNetwork]> => {
    const first = await start(a);
    const second = await start({ bootstrap: [first.address], ...b });
    await until('they know each other', () => knows(first, second) && knows(second, first));
    return [first, second];
  };
  const cannotMeet = async (options: TestOptions): Promise<void> => {
    const first = await start();
    const stranger = await start({ bootstrap: [first.address], ...options });
    stranger.table.apply(first.table.records.all().next().value?.record ?? assert.fail());
    await assert.rejects(stranger.network.ensureKnown(first.peer), (error: unknown) => {
      return isWeirError(error, 'peer_unreachable', 'peer_refused', 'peer_cut') || assert.fail(String(error));
    });
    assert.deepEqual(first.network.peers(), []);
    assert.deepEqual(stranger.network.peers(), []);
    assert.equal(first.table.live().length, 1);
  };

  const spawnNetwork = async (
    bootstrap: string,
  ): Promise<{ readonly child: ChildProcess; readonly peer: PeerId }> => {
    const child = spawn(process.execPath, [`${import.meta.dirname}/child.ts`, bootstrap], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    stack.defer(() => void child.kill('SIGKILL'));
    const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
    return { child, ...(JSON.parse(line) as { readonly peer: PeerId }) };
  };

  beforeEach(() => void (stack = new AsyncDisposableStack()));
  afterEach(() => stack.disposeAsync());

  describe('in a cluster', () => {
    it('finds all members from one address, and notices that one leaves', async () => {
      const first = await start();
      const others = await Promise.all(
        Array.from({ length: 11 }, () => start({ bootstrap: [first.address] })),
      );
      const all = [first, ...others];
      const known = (hosts: readonly TestNetwork[]): readonly number[] =>
        hosts.map(({ table }) => table.live().length);
      await eventually(() =>
        assert.deepEqual(
          known(all),
          Array.from(all, () => 12),
        ),
      );
      const [leaver, ...rest] = others;
      const began = performance.now();
      await leaver?.network.stop();
      assert.ok(performance.now() - began < 1000);
      const left = [first, ...rest];
      await eventually(() =>
        assert.deepEqual(
          known(left),
          Array.from(left, () => 11),
        ),
      );
    });

    it('measures the round trip of its connections', async () => {
      const first = await start();
      const other = await start({ bootstrap: [first.address] });
      const measured = ({ network }: TestNetwork): readonly string[] =>
        network.peers().map(({ rtt }) => typeof rtt);
      for (const end of [first, other]) await eventually(() => assert.deepEqual(measured(end), ['number']));
    });

    it('is ready and alone without other members', async () => {
      const { table, network } = await start({ bootstrap: ['127.0.0.1:1'] });
      assert.equal(table.live().length, 1);
      assert.deepEqual(network.peers(), []);
    });

    it('listens on IPv6, too', async () => {
      const listen = [
        { host: '127.0.0.1', port: 0 },
        { host: '::1', port: 0 },
      ];
      const first = await start({ listen });
      const address = first.network.addresses.find((text) => text.startsWith('/ip6/::1/')) ?? assert.fail();
      const second = await start({ listen, bootstrap: [address] });
      await until('known', () => knows(first, second));
      assert.match(second.network.peers()[0]?.address ?? '', /^\/ip6\/::1\//);
    });

    it('announces its own settings', async () => {
      const dataAddresses = [{ host: '10.1.2.3', port: 4003 }];
      const selfInfo = {
        name: 'näme',
        zone: 'z1',
        version: '1',
        dataAddresses,
        fingerprint: new Uint8Array(32),
      };
      const [first, second] = await startPair({ selfInfo, announce: ['10.1.2.3', '[fd00::1]:99'] });
      const told = second.table.get(first.peer);
      assert.equal(told?.name, 'n?me');
      assert.equal(told.zone, 'z1');
      assert.deepEqual(told.dataAddresses, dataAddresses);
      const port = first.address.split('/').at(-1);
      assert.deepEqual(told.controlAddresses, [`/ip4/10.1.2.3/tcp/${port}`, '/ip6/fd00::1/tcp/99']);
    });

    it('announces a new address of an interface while it runs', async () => {
      const { networkInterfaces } = os;
      using _restored = { [Symbol.dispose]: () => (os.networkInterfaces = networkInterfaces) };
      const interfaceAt = (address: string): ReturnType<typeof networkInterfaces> => ({
        eth0: [
          {
            address,
            family: 'IPv4',
            internal: false,
            mac: '',
            netmask: '255.255.255.0',
            cidr: `${address}/24`,
          },
        ],
      });
      os.networkInterfaces = () => interfaceAt('10.1.2.3');
      // The look at the addresses comes at once, all else in its time.
      let looks = 0;
      const clock: Clock = {
        ...systemClock,
        random: () => 0.5,
        sleep: (ms, options) => {
          if (ms !== ADDRESS_INTERVAL) return systemClock.sleep(ms, options);
          looks += 1;
          return systemClock.sleep(10, options);
        },
      };
      const port = 4003;
      const first = await start({
        clock,
        listen: [{ host: '0.0.0.0', port: 0 }],
        dataAddresses: (addresses) => dataAddressesOf([{ host: '0.0.0.0', port }], addresses),
      });
      const second = await start({ bootstrap: [first.address] });
      await eventually(() =>
        assert.deepEqual(second.table.get(first.peer)?.dataAddresses, [{ host: '10.1.2.3', port }]),
      );
      os.networkInterfaces = () => interfaceAt('10.1.2.4');
      await eventually(() => {
        const told = second.table.get(first.peer);
        assert.deepEqual(told?.dataAddresses, [{ host: '10.1.2.4', port }]);
        assert.deepEqual(told.controlAddresses, [`/ip4/10.1.2.4/tcp/${first.address.split('/').at(-1)}`]);
      });
      os.networkInterfaces = () => interfaceAt('127.0.0.1');
      const before = looks;
      await eventually(() => assert.ok(looks >= before + 3));
      assert.deepEqual(first.table.self.dataAddresses, [{ host: '10.1.2.4', port }]);
    });

    it('finds by member sync a record that gossip lost', async () => {
      const [first, second] = await startPair();
      const absent = Identity.generate();
      const sequence = Date.now();
      const record = signMember(absent, { ...first.table.self, peer: absent.peer, sequence });
      first.table.apply(record);
      await eventually(() => assert.equal(second.table.get(absent.peer)?.sequence, sequence));
    });

    it('outbids its own record of an earlier run whose clock was ahead', async () => {
      const identity = Identity.generate();
      const first = await start();
      const ahead = Date.now() + 1_000_000;
      first.table.apply(signMember(identity, { ...first.table.self, peer: identity.peer, sequence: ahead }));
      await start({ identity, bootstrap: [first.address] });
      await eventually(() => {
        const sequence = first.table.get(identity.peer)?.sequence ?? 0;
        assert.ok(sequence > ahead, `${sequence} is not above ${ahead}`);
      });
    });
  });

  describe('finding others', () => {
    it('tries all addresses of a name, again and again while it is alone', async () => {
      const first = await start();
      const port = Number(first.address.split('/').at(-1));
      let calls = 0;
      const lookup = async (name: string): Promise<readonly string[]> => {
        assert.equal(name, 'weir.example');
        calls += 1;
        if (calls < 4) throw new Error('no such name');
        return ['::1', '127.0.0.1'];
      };
      const second = await start({ bootstrap: [`weir.example:${port}`], lookup });
      await until('known', () => knows(first, second) && knows(second, first));
      assert.ok(calls >= 4);
    });

    it('joins the other half of a partition by asking the bootstrap names every few minutes', async () => {
      const found = new Map<string, readonly string[]>();
      const lookup = async (name: string): Promise<readonly string[]> => found.get(name) ?? [];
      const [a, b] = await startPair({ clock: fast });
      const [c, d] = await startPair();
      const e = await start({
        clock: fast,
        lookup,
        bootstrap: [a.address, 'late:' + c.address.split('/').at(-1)],
      });
      await until('e is in the first half', () => knows(e, a) && knows(e, b) && knows(b, e));
      assert.ok(!knows(e, d));
      found.set('late', ['127.0.0.1']);
      await eventually(() => {
        const pairs = [knows(a, c), knows(b, d), knows(c, a), knows(d, b)];
        assert.deepEqual(pairs, [true, true, true, true]);
      });
    });

    it('finds others by multicast DNS', async function () {
      const [first, second] = [await start({ mdns: true }), await start({ mdns: true })];
      try {
        await until('known', () => knows(first, second) && knows(second, first), 8000);
      } catch {
        this.skip(); // no multicast on this machine
      }
    });

    it('refuses malformed bootstrap addresses', async () => {
      await assert.rejects(startNetwork({ bootstrap: ['nonsense'] }), failsWith('config_invalid'));
    });

    it('fails with address_in_use if its port is taken', async () => {
      const first = await start();
      const port = Number(first.address.split('/').at(-1));
      await assert.rejects(
        startNetwork({ listen: [{ host: '127.0.0.1', port }] }),
        failsWith('address_in_use'),
      );
    });
  });

  describe('hellos', () => {
    it('make this node known to a peer that has never heard of it', async () => {
      const first = await start();
      const second = await start();
      // Second knows first by chance; first has never heard of second.
      second.table.apply(signMember(Identity.generate(), second.table.self));
      const record = first.table.records.all().next().value?.record ?? assert.fail();
      second.table.apply(record);
      await second.network.ensureKnown(first.peer);
      assert.deepEqual(first.table.get(second.peer), second.table.self);
    });

    it('to an unreachable peer fail, and make it a suspect', async () => {
      const [first, second] = await startPair();
      const absent = Identity.generate();
      const controlAddresses = ['/ip4/127.0.0.1/tcp/1'];
      first.table.apply(signMember(absent, { ...second.table.self, peer: absent.peer, controlAddresses }));
      await assert.rejects(first.network.ensureKnown(absent.peer), failsWith('peer_unreachable'));
      assert.deepEqual(first.unreachable, [absent.peer]);
      assert.equal(first.table.suspicion(absent.peer), 'unreachable');
      assert.ok(!first.table.live().some(({ peer }) => peer === absent.peer));
      await assert.rejects(
        first.network.ensureKnown(Identity.generate().peer),
        failsWith('peer_unreachable'),
      );
    });

    it('do not hold a caller whose signal is aborted', async () => {
      const [first, second] = await startPair();
      const reason = new Error('enough');
      const signal = AbortSignal.abort(reason);
      await assert.rejects(first.network.ensureKnown(second.peer, { signal }), reason);
    });
  });

  describe('DHT', () => {
    it('finds a blob that another member has', async () => {
      const first = await start();
      const others = await Promise.all(
        Array.from({ length: 4 }, () => start({ bootstrap: [first.address] })),
      );
      const all = [first, ...others];
      await until('they are connected', () => all.every(({ network }) => network.peers().length >= 4));
      for (const algorithm of ['sha256', 'sha512'] as const) {
        const cid = cidOf(digestOf(Buffer.from('a layer'), algorithm));
        const [holder, seeker] = [others[0], others[3]];
        const { signal } = new AbortController();
        const provide = async (): Promise<number> => {
          return (await holder?.network.contentRouting.provide(cid, { signal })) ?? 0;
        };
        // Members become known in the background.
        for (let taken = 0; taken < 3; taken = await provide()) await systemClock.sleep(50);
        for (const answers of [Infinity, 1]) {
          const found = seeker?.network.contentRouting.find(cid, { signal, answers }) ?? assert.fail();
          const names: PeerId[] = [];
          for await (const peer of found) names.push(peer);
          assert.deepEqual(names, [holder?.peer]);
        }
      }
    });

    it('skips members that cannot be reached', async () => {
      const first = await start();
      const networks = [
        first,
        await start({ bootstrap: [first.address] }),
        await start({ bootstrap: [first.address] }),
      ];
      await until('they know each other', () =>
        networks.every((one) => networks.every((other) => knows(one, other))),
      );
      const dead = Array.from({ length: 3 }, () => Identity.generate());
      for (const identity of dead) {
        const record = signMember(identity, {
          peer: identity.peer,
          sequence: 1,
          name: 'dead',
          zone: '',
          controlAddresses: ['/ip4/127.0.0.1/tcp/1'],
          dataAddresses: [],
          fingerprint: new Uint8Array(),
          version: '0.1.0',
          leaving: false,
        });
        for (const { table } of networks) table.apply(record);
      }
      const cid = cidOf(digestOf(Buffer.from('a layer')));
      const signal = AbortSignal.timeout(10_000);
      const [holder, , seeker] = networks as [TestNetwork, TestNetwork, TestNetwork];
      assert.equal(await holder.network.contentRouting.provide(cid, { signal }), 2);
      const names: PeerId[] = [];
      for await (const peer of seeker.network.contentRouting.find(cid, { signal, answers: 2, atOnce: 1 }))
        names.push(peer);
      assert.deepEqual(names, [holder.peer]);
    });

    it('answers a node that is alone', async () => {
      const { network } = await start();
      const cid = cidOf(digestOf(Buffer.from('a layer')));
      const signal = AbortSignal.timeout(5000);
      assert.equal(await network.contentRouting.provide(cid, { signal }), 0);
      for await (const peer of network.contentRouting.find(cid, { signal })) assert.fail(peer);
    });
  });

  describe('refuses', () => {
    it('a node with another key', () =>
      cannotMeet({ clusterKeys: new ClusterKeys([new Uint8Array(32).fill(8)]) }));
    it('a node without a key', () => cannotMeet({ clusterKeys: new ClusterKeys([]) }));

    it('a peer that the configuration bans', async () => {
      const identity = Identity.generate();
      const first = await start({ banned: [identity.peer] });
      const banned = await start({ identity, bootstrap: [first.address] });
      banned.table.apply(first.table.records.all().next().value?.record ?? assert.fail());
      await assert.rejects(banned.network.ensureKnown(first.peer));
      assert.deepEqual(first.network.peers(), []);
      await assert.rejects(first.network.ensureKnown(banned.peer), failsWith('peer_refused'));
    });

    it('a peer that is banned while it is connected', async () => {
      const [first, second] = await startPair();
      await second.network.ensureKnown(first.peer);
      first.table.ban(second.peer, 'wrong-bytes');
      assert.deepEqual(first.network.peers(), []);
      await until('the other side knows', () => second.network.peers().length === 0);
      await assert.rejects(second.network.ensureKnown(first.peer));
      assert.deepEqual(first.hungUp, [second.peer]);
    });
  });

  describe('is told of a peer that another connection', () => {
    it('has reached: it is no suspect any more, unless for another reason', async () => {
      const [first, second] = await startPair();
      first.network.unreachable(second.peer, new WeirError('peer_unreachable', 'no connection'));
      assert.equal(first.table.suspicion(second.peer), 'unreachable');
      first.network.reached(second.peer);
      assert.equal(first.table.suspicion(second.peer), undefined);
      first.network.unreachable(second.peer, new WeirError('peer_stalled', 'it says nothing'));
      first.network.reached(second.peer);
      assert.equal(first.table.suspicion(second.peer), 'stalled');
    });

    it('has found to break the protocol: it is kept off', async () => {
      const [first, second] = await startPair();
      first.network.broken(second.peer, new WeirError('peer_protocol', 'nonsense'));
      assert.equal(first.table.suspicion(second.peer), 'protocol');
      assert.deepEqual(first.network.peers(), []);
      assert.deepEqual(first.hungUp, [second.peer]);
    });

    it('has lost: it is a suspect only if it does not listen any more', async () => {
      const [first, second] = await startPair();
      first.network.gone(second.peer);
      const absent = Identity.generate();
      const controlAddresses = ['/ip4/127.0.0.1/tcp/1'];
      first.table.apply(signMember(absent, { ...second.table.self, peer: absent.peer, controlAddresses }));
      first.network.gone(absent.peer);
      await until('it is suspected', () => first.table.suspicion(absent.peer) === 'unreachable');
      assert.equal(first.table.suspicion(second.peer), undefined);
    });
  });

  describe('with peers in processes of their own', () => {
    it('suspects a killed peer at once, for as long as it is gone', async () => {
      const first = await start();
      const { child, peer } = await spawnNetwork(first.address);
      await until('known', () => first.table.live().some((member) => member.peer === peer));
      const began = performance.now();
      child.kill('SIGKILL');
      await until('suspected', () => first.table.suspicion(peer) === 'unreachable');
      assert.ok(performance.now() - began < 2000);
      assert.ok(first.unreachable.includes(peer));
      assert.equal(first.table.live().length, 1);
      // Time alone does not end the suspicion: each failed try extends it.
      const firstEnd = suspectedUntil(first, peer);
      await until('the suspicion would have ended', () => {
        assert.equal(first.table.live().length, 1);
        return Date.now() > firstEnd && first.unreachable.length > 1;
      });
    });

    it('suspects a frozen peer when it is needed, until it continues', async () => {
      const first = await start();
      const { child, peer } = await spawnNetwork(first.address);
      await until('known', () => first.table.live().some((member) => member.peer === peer));
      child.kill('SIGSTOP');
      await assert.rejects(first.network.ensureKnown(peer), failsWith('peer_stalled'));
      assert.equal(first.table.suspicion(peer), 'stalled');
      await until('it is found to be gone', () => first.table.suspicion(peer) === 'unreachable');
      const firstEnd = suspectedUntil(first, peer);
      await until('the suspicion would have ended', () => {
        assert.equal(first.table.suspicion(peer), 'unreachable');
        return Date.now() > firstEnd;
      });
      child.kill('SIGCONT');
      await until('it is back', () => first.table.suspicion(peer) === undefined);
    });

    it('announces its end on SIGTERM', async () => {
      const first = await start();
      const { child, peer } = await spawnNetwork(first.address);
      await until('known', () => first.table.live().some((member) => member.peer === peer));
      child.kill('SIGTERM');
      await eventually(() => assert.equal(first.table.get(peer)?.leaving, true));
    });
  });

  it('does not reveal the cluster key', async () => {
    const [first] = await startPair();
    const key = Buffer.from(KEY);
    for (const { record } of first.table.records.all()) {
      assert.ok(!Buffer.from(record.encoded).includes(key.subarray(0, 8)));
    }
  });
});
