/** A client that goes away must not end the node, and must leave nothing behind in it. */
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { KIB, MIB, SECOND } from '../../src/util/clock.ts';
import { digestOf, type Digest } from '../../src/oci/digest.ts';
import { request } from '../support/client.ts';
import { HttpServer } from '../support/http-server.ts';
import { buildImage, largestBlob, type TestBlob } from '../support/images.ts';
import { memoryOf, openFilesOf } from '../support/process-memory.ts';
import { push } from '../support/push.ts';
import { Registry } from '../support/registry.ts';
import { requires } from '../support/requires.ts';
import { resetAll } from '../support/resets.ts';
import { WeirNode } from '../support/weir.ts';

const REPOSITORY = 'team/app';
/** Resets in each phase, over all kinds of requests. */
const RESETS = 15_000;
const PARALLEL = 48;
/** Resets of the warm-up: after them all that is loaded or made once is there. */
const WARM_UP = 2_000;
/**
 * Bytes by which 30,000 resets may make the node larger. Between two collections the heaps of the main thread and of its
 * byte worker vary by 195 MiB together for any number of resets. A leak of 9 KiB for each reset would be more.
 */
const MAY_GROW = 256 * MIB;
/** Connections to registries that may stay open for a while. */
const MAY_STAY_OPEN = 48;
const QUIET_WITHIN = 30 * SECOND;
const BACK_WITHIN = 15 * SECOND;

requires('docker-registry')('a client that goes away', function () {
  this.timeout(180 * SECOND);

  it('neither ends the node nor leaks, 30,000 times on every route, with the registry up and down', async () => {
    const image = await buildImage({ seed: 'resets', layers: [300 * KIB, 2 * MIB] });
    const other = await buildImage({ seed: 'not stored', layers: [3 * MIB] });
    await using registry = await Registry.start();
    await push(registry.url, REPOSITORY, 'v1', image);
    await push(registry.url, REPOSITORY, 'v2', other);
    await using endless = await HttpServer.start(trickle);
    await using node = await WeirNode.start({
      settings: { 'cluster.mode': 'off', 'pull.linger': '1s' },
    });
    const layer = largestBlob(image);
    assert.equal(await pull(node, registry.host, layer), layer.digest);

    const targets = (inTheStore: TestBlob, notThere: TestBlob): readonly string[] => {
      const ns = registry.host;
      // The same registry by another name: its bytes have not been delivered under that one.
      const unproven = `localhost:${registry.port}`;
      const blobs = [
        `${REPOSITORY}/blobs/${inTheStore.digest}?ns=${ns}`,
        `${REPOSITORY}/blobs/${inTheStore.digest}?ns=${unproven}`,
        `${REPOSITORY}/blobs/${notThere.digest}?ns=${ns}`,
        `${REPOSITORY}/blobs/${digestOf(Buffer.from('nowhere'))}?ns=${ns}`,
        `${REPOSITORY}/blobs/${digestOf(Buffer.from('in flight'))}?ns=${endless.host}`,
      ];
      const others = [
        `${REPOSITORY}/manifests/v1?ns=${ns}`,
        `${REPOSITORY}/manifests/${image.digest}?ns=${ns}`,
        `${REPOSITORY}/manifests/nowhere?ns=${ns}`,
        `${REPOSITORY}/manifests/${other.digest}?ns=${unproven}`,
        `${REPOSITORY}/tags/list?ns=${ns}`,
        `${REPOSITORY}/referrers/${image.digest}?ns=${ns}`,
        '',
      ];
      return [...blobs, ...others].flatMap((path) => [`GET /v2/${path}`, `HEAD /v2/${path}`]);
    };
    const all = { host: node.host, requests: targets(layer, largestBlob(other)), parallel: PARALLEL };
    await resetAll({ ...all, count: WARM_UP });
    await quiet(node);
    const before = { memory: await memoryOf(node.pid, 'RssAnon'), files: await openFilesOf(node.pid) };

    await resetAll({ ...all, count: RESETS });
    await registry.stop();
    await resetAll({ ...all, count: RESETS });
    await registry.restart();

    await quiet(node);
    const grown = (await memoryOf(node.pid, 'RssAnon')) - before.memory;
    assert.ok(grown < MAY_GROW, `it grew by ${Math.round(grown / MIB)} MiB`);
    const files = (await openFilesOf(node.pid)) - before.files;
    assert.ok(files < MAY_STAY_OPEN, `${files} more files are open than before`);
    assert.equal((await node.metrics()).sum('weir_unhandled_errors_total'), 0);

    const fresh = await buildImage({ seed: 'afterwards', layers: [5 * MIB] });
    await push(registry.url, REPOSITORY, 'v3', fresh);
    const blob = largestBlob(fresh);
    assert.equal(await pull(node, registry.host, blob), blob.digest);
    assert.equal(await pull(node, `localhost:${registry.port}`, layer), layer.digest);
    assert.deepEqual(node.log.match(/"level":"(?:error|fatal)".*/g) ?? [], []);
  });
});

/** A blob that never ends, a byte now and then. */
const trickle: HttpServer['handler'] = (incoming, response) => {
  response.writeHead(200, { 'content-length': 100 * MIB });
  if (incoming.method === 'HEAD') {
    response.end();
    return;
  }
  const timer = setInterval(() => response.write('x'), 50);
  response.once('close', () => clearInterval(timer));
};

/** Waits until the node serves again: for a moment after an outage it sends runtimes to the registry. */
async function pull(node: WeirNode, registry: string, { digest }: TestBlob): Promise<Digest> {
  const deadline = performance.now() + BACK_WITHIN;
  for (;;) {
    const answer = await request(node.urlOf(registry, `${REPOSITORY}/blobs/${digest}`));
    if (answer.status === 200) return answer.digest;
    if (performance.now() > deadline) assert.fail(`${answer.status} ${answer.body.toString()}`);
    await delay(100);
  }
}

/** Waits until the node serves nobody and pulls nothing. */
async function quiet(node: WeirNode): Promise<void> {
  const deadline = performance.now() + QUIET_WITHIN;
  for (;;) {
    const metrics = await node.metrics();
    const left = ['weir_mirror_in_flight', 'weir_blobs_in_flight'].map((name) => metrics.sum(name));
    if (left.every((value) => value === 0)) return;
    if (performance.now() > deadline) assert.fail(`requests and blobs in flight: ${left.join(', ')}`);
    await delay(100);
  }
}
