/**
 * An attacker with the cluster key introduces thousands of made-up members. Honest ones stay known, a newcomer is still
 * accepted, and honest members own most chunks.
 */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { multiaddr } from '@multiformats/multiaddr';
import { MINUTE, SECOND } from '../../src/util/clock.ts';
import type { RecordIntake } from '../../src/network/record-intake.ts';
import { MemberSync } from '../../src/network/member-sync.ts';
import type { MemberTable } from '../../src/cluster/member-table.ts';
import { digestOf } from '../../src/oci/digest.ts';
import { parseRegistryHost } from '../../src/oci/repository.ts';
import { Identity } from '../../src/protocol/identity.ts';
import type { PeerId } from '../../src/protocol/peer-id.ts';
import { ChunkOwners } from '../../src/swarm/chunk-owners.ts';
import { BUCKET_DIGEST_BYTES, BUCKETS } from '../../src/protocol/sync-messages.ts';
import { signMember, type SignedMember } from '../../src/protocol/signed-record.ts';
import { startBareNode } from '../support/bare-node.ts';
import { MemberNode } from '../support/member-node.ts';
import { TempDir } from '../support/temp.ts';
import { until } from '../support/test-network.ts';

const MADE_UP = 8192;
/** Members of the cluster that the node has met. */
const HONEST = 60;

describe('made-up members', function () {
  this.timeout(2 * MINUTE);
  let temp: TempDir;
  let keyFile: string;
  let victim: MemberNode;
  let honest: readonly PeerId[];

  before(async () => {
    temp = await TempDir.create('made-up');
    keyFile = temp.join('key');
    await writeFile(keyFile, 'a key that the attacker has, too');
  });

  after(async () => {
    await temp[Symbol.asyncDispose]();
  });

  beforeEach(async () => {
    victim = await MemberNode.start({ keyFile });
    const met = made(HONEST, (i) => `/ip4/10.1.0.${i}/tcp/4772`);
    for (const record of met) victim.table.apply(record);
    honest = [victim.peer, ...met.map(({ member }) => member.peer)];
  });

  afterEach(async () => {
    await victim[Symbol.asyncDispose]();
  });

  for (const [what, address] of [
    ['at one address', (i: number) => `/ip4/10.9.9.9/tcp/${1 + (i % 60_000)}`],
    ['at one unreachable address each', (i: number) => `/ip4/10.${i >> 8}.${i & 255}.9/tcp/4772`],
    ['at ports of the same machine', (i: number) => `/ip4/127.0.0.1/tcp/${1 + (i % 60_000)}`],
  ] as const) {
    it(`${what} leave the cluster as it is`, async () => {
      await introduce(made(MADE_UP, address));
      const { table } = victim;
      assert.ok(table.size < 2 * HONEST, `${table.size} members`);
      for (const peer of honest) assert.ok(table.get(peer), 'an honest member is not known any more');
      await using newcomer = await MemberNode.start({ keyFile, bootstrap: victim.address });
      await until('the newcomer is accepted', () => table.isLive(newcomer.peer));
      const share = shareOfOwners(new Set([...honest, newcomer.peer]));
      assert.ok(share > 0.5, `honest members own ${share} of the chunks`);
    });
  }

  /** By a member sync, as a neighbour does. */
  async function introduce(records: readonly SignedMember[]): Promise<void> {
    const key = new Uint8Array(await readFile(keyFile));
    const identity = Identity.generate();
    const node = await startBareNode(identity, key);
    const own = signMember(identity, { ...victim.table.self, peer: identity.peer, sequence: Date.now() });
    const table = {
      records: {
        digests: () => new Uint8Array(BUCKETS * BUCKET_DIGEST_BYTES).fill(1),
        inBuckets: () => records.map((record) => ({ record, age: 0 })),
      },
    } as unknown as MemberTable;
    const intake = { hello: () => undefined, page: () => undefined } as unknown as RecordIntake;
    const exchange = new MemberSync(
      node,
      table,
      intake,
      () => own,
      () => undefined,
    );
    try {
      const address = multiaddr(`${victim.cluster.network.addresses[0]}/p2p/${victim.peer}`);
      const connection = await node.dial(address, { signal: AbortSignal.timeout(10 * SECOND) });
      await exchange.run(connection, AbortSignal.timeout(10 * SECOND));
      await until('the records have come', () => victim.table.size > honest.length);
    } finally {
      await node.stop();
    }
  }

  /** The share of chunks of many blobs whose owner is one of these: each blob has few members that own its chunks. */
  function shareOfOwners(peers: ReadonlySet<PeerId>): number {
    // All records: live() would leave out honest and made-up members that this node has found unreachable meanwhile.
    const members = [...victim.table.records.all()].map(({ record }) => record.member);
    const registry = parseRegistryHost('registry.test');
    const shares = Array.from({ length: 200 }, (_, blob) => {
      const swarm = { registry, digest: digestOf(Buffer.from(`blob ${blob}`)) };
      const owners = new ChunkOwners(swarm, { live: () => members, version: 1 });
      const chunks = Array.from({ length: 64 }, (_each, index) => owners.of(index)[0]?.peer);
      return chunks.filter((peer) => peer !== undefined && peers.has(peer)).length / chunks.length;
    });
    return shares.reduce((sum, share) => sum + share) / shares.length;
  }
});

function made(count: number, addressOf: (index: number) => string): readonly SignedMember[] {
  return Array.from({ length: count }, (_, i) => {
    const identity = Identity.generate();
    return signMember(identity, {
      peer: identity.peer,
      sequence: Date.now(),
      name: 'node',
      zone: '',
      version: '1',
      controlAddresses: [addressOf(i)],
      dataAddresses: [],
      fingerprint: new Uint8Array(),
      leaving: false,
    });
  });
}
