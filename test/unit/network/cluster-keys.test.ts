/** Members whose keys are being changed form one cluster as long as each pair has a key in common. */
import assert from 'node:assert/strict';
import { ClusterKeys } from '../../../src/network/cluster-keys.ts';
import { startNetwork, until, type TestNetwork } from '../../support/test-network.ts';

const [A, B, C] = [1, 2, 3].map((byte) => new Uint8Array(32).fill(byte)) as [
  Uint8Array,
  Uint8Array,
  Uint8Array,
];

describe('cluster keys', () => {
  let stack: AsyncDisposableStack;

  beforeEach(() => (stack = new AsyncDisposableStack()));
  afterEach(() => stack.disposeAsync());

  const start = async (
    keys: readonly Uint8Array[],
    bootstrap: readonly string[] = [],
  ): Promise<TestNetwork> => stack.use(await startNetwork({ clusterKeys: new ClusterKeys(keys), bootstrap }));

  const haveMet = (one: TestNetwork, other: TestNetwork): boolean =>
    one.table.isLive(other.peer) && other.table.isLive(one.peer);

  /** Makes them known to each other, so that either can dial. */
  function introduce(one: TestNetwork, other: TestNetwork): void {
    for (const { record } of other.table.records.all()) one.table.apply(record);
    for (const { record } of one.table.records.all()) other.table.apply(record);
  }

  for (const [mine, theirs] of [
    [[A], [A, B]],
    [
      [A, B],
      [B, A],
    ],
    [[B, A], [B]],
    [
      [C, B],
      [A, B],
    ],
  ] as const) {
    const name = (keys: readonly Uint8Array[]): string =>
      keys.map((key) => 'ABC'[(key[0] ?? 0) - 1]).join('');
    it(`members with the keys ${name(mine)} and ${name(theirs)} meet, whoever dials`, async () => {
      for (const [first, second] of [
        [mine, theirs],
        [theirs, mine],
      ] as const) {
        const one = await start(first);
        const other = await start(second, [one.address]);
        await until('they meet', () => haveMet(one, other));
      }
    });
  }

  it('members without a common key do not meet, in an open cluster neither', async () => {
    for (const keys of [[C], [C, B], []]) {
      const one = await start([A]);
      const other = await start(keys);
      introduce(one, other);
      await assert.rejects(other.network.ensureKnown(one.peer));
      assert.deepEqual(one.network.peers(), []);
    }
  });

  it('a key is changed in three steps, and connections of the old one are made anew', async () => {
    const one = await start([A]);
    const other = await start([A], [one.address]);
    await until('they meet', () => haveMet(one, other));
    for (const keys of [
      [A, B],
      [B, A],
    ]) {
      for (const { network } of [one, other]) network.useKeys(keys);
      assert.equal(one.network.peers().length, 1, 'nothing is closed while both keys hold');
    }
    const [before] = one.network.peers();
    for (const { network } of [one, other]) network.useKeys([B]);
    const isAnew = (): boolean => one.network.peers().some(({ since }) => since !== before?.since);
    await until('the connection is made anew', isAnew);
    await other.network.ensureKnown(one.peer);
    assert.ok(haveMet(one, other));
    const late = await start([B], [one.address]);
    await until('a new member is in', () => haveMet(one, late));
    const outside = await start([A]);
    introduce(outside, one);
    await assert.rejects(outside.network.ensureKnown(one.peer));
  });
});
