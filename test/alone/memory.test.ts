/** A layer many times larger than the memory that a node may have, over links that are faster than its disk. */
import assert from 'node:assert/strict';
import { get, type IncomingMessage } from 'node:http';
import { GIB, MIB, MINUTE, SECOND } from '../../src/util/clock.ts';
import { shared } from '../support/fixture.ts';
import { GeneratedBlob } from '../support/generated-blob.ts';
import { MemoryCgroup } from '../support/memory-cgroup.ts';
import { memoryOf } from '../support/process-memory.ts';
import { WEIR, WeirNode } from '../support/weir.ts';
import { WeirCluster } from '../support/weir-cluster.ts';

const LAYER = 4 * GIB;
const LARGE_LAYER = 10 * GIB;
/** A registry that has delivered nothing before, not even a manifest, may fill a quarter of this. */
const QUOTA = '41GiB';
/** Bytes that a node may use, page cache included, if this machine lets the test limit it. */
const LIMIT = 512 * MIB;
/** Bytes of its own that it may ever have resident, with the pages of its program. */
const MOST_RESIDENT = 400 * MIB;

describe('a layer of 4 GiB, nodes of 512 MiB', function () {
  this.timeout(10 * MINUTE);
  const lab = shared(async (stack) => {
    const blob = stack.use(await GeneratedBlob.start(LAYER));
    const cgroups = await Promise.all([MemoryCgroup.create(LIMIT), MemoryCgroup.create(LIMIT)]);
    for (const cgroup of cgroups) if (cgroup !== undefined) stack.use(cgroup);
    const cluster = stack.use(
      await WeirCluster.start(2, {
        node: (i) => {
          const program = cgroups[i]?.starting(WEIR);
          return { settings: { 'store.quota': QUOTA }, ...(program && { program }) };
        },
      }),
    );
    await cluster.settled();
    return { blob, cluster, isLimited: cgroups.every((cgroup) => cgroup !== undefined) };
  });

  it('the first node of a cluster of two pulls it from the registry once', async () => {
    const { blob, cluster } = lab();
    await pull(cluster.node(0), blob);
    assert.ok(blob.sent < 1.1 * LAYER, `the registry sent ${blob.sent} bytes`);
  });

  it('the second node pulls it from the first', async () => {
    const { blob, cluster } = lab();
    const before = blob.sent;
    await pull(cluster.node(1), blob);
    assert.ok(blob.sent - before < LAYER / 10, `the registry sent ${blob.sent - before} bytes`);
  });
});

describe('a layer of 10 GiB, a node of 512 MiB', function () {
  this.timeout(10 * MINUTE);

  it('a node that is alone pulls it from the registry once', async () => {
    await using blob = await GeneratedBlob.start(LARGE_LAYER);
    await using cgroup = await MemoryCgroup.create(LIMIT);
    const program = cgroup?.starting(WEIR);
    await using node = await WeirNode.start({
      settings: { 'store.quota': QUOTA },
      registries: { [blob.host]: { 'plain-http': true } },
      ...(program && { program }),
    });
    await pull(node, blob);
    assert.equal(blob.sent, LARGE_LAYER);
  });
});

/** Reads the whole blob as a runtime does. */
async function pull(node: WeirNode, { host, digest, size }: GeneratedBlob): Promise<void> {
  const began = performance.now();
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  get(node.urlOf(host, `a/b/blobs/${digest}`), resolve).once('error', reject);
  const response = await promise;
  assert.equal(response.statusCode, 200);
  let bytes = 0;
  try {
    for await (const chunk of response) bytes += (chunk as Buffer).length;
  } catch (error) {
    throw node.failure(`the response broke off after ${bytes} bytes: ${String(error)}`);
  }
  assert.equal(bytes, size);
  const seconds = (performance.now() - began) / SECOND;
  const most = await memoryOf(node.pid, 'VmHWM');
  const told = `${(size / MIB / seconds).toFixed(0)} MiB/s, at most ${(most / MIB).toFixed(0)} MiB resident`;
  if (process.env['WEIR_TEST_TELL'] !== undefined) process.stdout.write(`      ${told}\n`);
  assert.ok(most < MOST_RESIDENT, told);
}
