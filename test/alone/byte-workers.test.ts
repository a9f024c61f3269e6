/** No byte of a blob passes the main thread: content moves, and the main thread uses little of the CPU that this takes. */
import assert from 'node:assert/strict';
import { get, type IncomingMessage } from 'node:http';
import { MAIN, groupSeconds, threadTimes } from '../../bench/support/threads.ts';
import { GIB, MINUTE } from '../../src/util/clock.ts';
import { shared } from '../support/fixture.ts';
import { GeneratedBlob } from '../support/generated-blob.ts';
import type { WeirNode } from '../support/weir.ts';
import { WeirCluster } from '../support/weir-cluster.ts';

const SIZE = 1 * GIB;
/**
 * Of the CPU time of a node that moves content. The main thread had 0.48 to 0.78 of it when all bytes passed it, and has
 * below 0.15 now; what it does besides, such as its start, is not counted. A sender, whose work is below one CPU second in
 * all, has 0.3 to 0.41 of it on the main thread: it decides on each chunk, and its worker hashes nothing.
 */
const MOST_ON_MAIN = 0.5;

describe('a blob of 1 GiB', function () {
  this.timeout(10 * MINUTE);
  const lab = shared(async (stack) => {
    const blob = stack.use(await GeneratedBlob.start(SIZE));
    const settings = { 'store.quota': '5GiB' };
    const cluster = stack.use(await WeirCluster.start(2, { node: () => ({ settings }) }));
    await cluster.settled();
    return { blob, first: cluster.node(0), second: cluster.node(1) };
  });

  it('goes from the registry to the disk and the client, past the main thread', async () => {
    const { blob, first } = lab();
    const [share] = await sharesOfMain([first], () => read(first, blob));
    assertSmall({ share });
  });

  it('goes from one node through another to the client, past both main threads', async () => {
    const { blob, first, second } = lab();
    const before = blob.sent;
    const [sender, receiver] = await sharesOfMain([first, second], () => read(second, blob));
    assert.ok(blob.sent - before < SIZE / 10, 'it came from the first node');
    assertSmall({ sender, receiver });
  });

  it('goes from the disk to the client, past the main thread', async () => {
    const { blob, first } = lab();
    const [share] = await sharesOfMain([first], () => read(first, blob));
    assertSmall({ share });
  });
});

function assertSmall(shares: Readonly<Record<string, number | undefined>>): void {
  const told = Object.entries(shares).map(([name, share = 1]) => `${name} ${share.toFixed(2)}`);
  if (process.env['WEIR_TEST_TELL'] !== undefined) process.stdout.write(`      ${told.join(', ')}\n`);
  for (const share of Object.values(shares))
    assert.ok(share !== undefined && share < MOST_ON_MAIN, told.join(', '));
}

/** The share of each node's CPU time that its main thread used meanwhile. */
async function sharesOfMain(
  nodes: readonly WeirNode[],
  work: () => Promise<void>,
): Promise<readonly number[]> {
  const before = await Promise.all(nodes.map(({ pid }) => threadTimes(pid)));
  await work();
  return Promise.all(
    nodes.map(async ({ pid }, index) => {
      const groups = groupSeconds(pid, before[index] ?? [], await threadTimes(pid));
      const all = Object.values(groups).reduce((sum, each) => sum + each, 0);
      return (groups[MAIN] ?? 0) / all;
    }),
  );
}

/** Reads the whole blob; the node checks its digest. */
async function read(node: WeirNode, { host, digest, size }: GeneratedBlob): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  get(node.urlOf(host, `a/b/blobs/${digest}`), resolve).once('error', reject);
  const response = await promise;
  assert.equal(response.statusCode, 200);
  let bytes = 0;
  for await (const chunk of response) bytes += (chunk as Buffer).length;
  assert.equal(bytes, size);
}
