/** A node or a reader is killed in mid-blob: nothing is lost, and upstream sends next to nothing twice. */
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { KIB, MIB, SECOND } from '../../src/util/clock.ts';
import { assertIntact, assertOk } from '../support/assertions.ts';
import { request, type Answer } from '../support/client.ts';
import { Containerd } from '../support/containerd.ts';
import { FaultProxy } from '../support/fault-proxy.ts';
import { shared } from '../support/fixture.ts';
import { blob, buildImage, randomBytes, type TestBlob } from '../support/images.ts';
import { Program } from '../support/program.ts';
import { push, pushBlob } from '../support/push.ts';
import { Registry } from '../support/registry.ts';
import { requires } from '../support/requires.ts';
import { WeirNode, type WeirOptions } from '../support/weir.ts';

const SIZE = 80 * MIB;
const MID = 30 * MIB;
/** Bytes a second: slow enough that "mid-blob" is no race, fast enough that a test takes seconds. */
const RATE = 20 * MIB;
/** Upstream may send this many times the size of the blob in all. */
const MOST = 1.1;

requires('docker-registry')('crash', () => {
  const lab = shared(async (stack) => ({ registry: stack.use(await Registry.start()) }));

  interface Scene extends AsyncDisposable {
    readonly layer: TestBlob;
    readonly proxy: FaultProxy;
    readonly weir: WeirNode;
    readonly url: string;
  }

  /** A blob behind a slow proxy, and a node that has none of it. */
  const scene = async (seed: string, options: WeirOptions = {}): Promise<Scene> => {
    const { registry } = lab();
    const layer = blob('application/octet-stream', randomBytes(seed, SIZE));
    await pushBlob(registry.url, 'crash/app', layer);
    await using stack = new AsyncDisposableStack();
    const fault = { kind: 'throttle', bytesPerSecond: RATE } as const;
    const proxy = stack.use(await FaultProxy.start(registry.url, [{ path: /\/blobs\//, fault }]));
    const weir = stack.use(await WeirNode.start(options));
    const url = weir.urlOf(proxy.host, `crash/app/blobs/${layer.digest}`);
    const owned = stack.move();
    return { layer, proxy, weir, url, [Symbol.asyncDispose]: () => owned.disposeAsync() };
  };

  it('after kill -9 of the node in mid-blob, the next pull goes on with the bytes that were stored', async () => {
    await using at = await scene('kill');
    const first = await readAndAtMid(at.url, () => at.weir.kill());
    assert.notEqual(first.broken, undefined);
    await at.weir.restart();
    assertWhole(await request(at.url), at.layer);
    assertFrugal(at.proxy);
  });

  it('after two kills of the node in mid-blob, the next pull still goes on with the bytes that were stored', async () => {
    await using at = await scene('kill-twice');
    for (let round = 0; round < 2; round += 1) {
      await readAndAtMid(at.url, () => at.weir.kill());
      await at.weir.restart();
    }
    assertWhole(await request(at.url), at.layer);
    assertFrugal(at.proxy);
  });

  it('at SIGTERM in mid-blob, the node completes the response, then ends with code 0', async () => {
    await using at = await scene('drain');
    let ended: Promise<unknown> = Promise.resolve();
    const answer = await readAndAtMid(at.url, async () => {
      ended = at.weir.terminate();
    });
    assertWhole(answer, at.layer);
    assert.deepEqual(await ended, { code: 0, signal: null });
    assertFrugal(at.proxy);
  });

  it('at SIGTERM with a short drain timeout, the node cuts the response and keeps the partial blob', async () => {
    await using at = await scene('short-drain', { settings: { 'mirror.drain-timeout': '500ms' } });
    let ended: Promise<unknown> = Promise.resolve();
    const answer = await readAndAtMid(at.url, async () => {
      ended = at.weir.terminate();
    });
    assert.notEqual(answer.broken, undefined);
    assert.deepEqual(await ended, { code: 0, signal: null });
    await at.weir.restart();
    assertWhole(await request(at.url), at.layer);
    assertFrugal(at.proxy);
  });

  it('after kill -9 of a reader in mid-blob, another reader gets the whole blob from the same download', async () => {
    await using at = await scene('reader');
    const script = `const r = await fetch(${JSON.stringify(at.url)}); let n = 0;
      for await (const c of r.body) { n += c.length; if (n > ${MID}) { console.log('middle'); break; } }
      setInterval(() => {}, 1000);`;
    const args = ['--input-type=module', '--eval', script];
    await using reader = await Program.start({ command: process.execPath, args });
    await reader.line(/middle/);
    await reader.stop('SIGKILL');
    assertWhole(await request(at.url), at.layer);
    assertFrugal(at.proxy);
  });

  it('a reader that stops reading does not hold up others', async () => {
    await using at = await scene('stalled-reader');
    const controller = new AbortController();
    const stalled = await fetch(at.url, { signal: controller.signal });
    try {
      assertWhole(await request(at.url), at.layer);
      assertFrugal(at.proxy);
    } finally {
      controller.abort();
      await stalled.body?.cancel().catch(() => undefined);
    }
  });

  it('a second node on the same data folder ends with code 3 and names the folder', async () => {
    await using weir = await WeirNode.start();
    const rival = await weir.rival();
    assert.equal(rival.code, 3, rival.stderr);
    assert.ok(rival.stderr.includes(weir.dataFolder), rival.stderr);
    assert.equal((await request(`${weir.url}/v2/`)).status, 200);
  });

  it('a data folder whose node was killed opens again', async () => {
    await using weir = await WeirNode.start();
    await weir.kill();
    await weir.restart();
    assert.equal((await request(`${weir.url}/v2/`)).status, 200);
  });
});

requires(
  'root',
  'docker-registry',
  'containerd',
  'ctr',
)('crash: containerd', () => {
  it('after kill -9 of the node in mid-pull, that pull or the next one succeeds, and little is fetched twice', async () => {
    await using registry = await Registry.start();
    await using proxy = await FaultProxy.start(registry.url);
    await using weir = await WeirNode.start();
    await using containerd = await Containerd.start();
    const image = await buildImage({ seed: 'kill-ctr', layers: [100 * KIB, SIZE] });
    await push(registry.url, 'crash/pull', 'v1', image);
    await containerd.writeHosts({ registry: proxy.host, server: proxy.url, mirrors: [weir.url] });
    proxy.setRules({ path: /\/blobs\//, fault: { kind: 'throttle', bytesPerSecond: RATE } });
    const name = `${proxy.host}/crash/pull:v1`;
    const pulling = containerd.ctrPull(name);
    while (proxy.bytes(/\/blobs\//) < MID) await delay(20);
    await weir.kill();
    await weir.restart();
    const first = await pulling;
    if (first.code !== 0) assertOk('the second ctr images pull', await containerd.ctrPull(name));
    await assertIntact(containerd, image);
    const sent = proxy.bytes(/\/blobs\//);
    assert.ok(sent < MOST * SIZE, `upstream sent ${(sent / SIZE).toFixed(3)} times the blob`);
  }).timeout(60 * SECOND);
});

function assertWhole(answer: Answer, layer: TestBlob): void {
  assert.equal(answer.status, 200);
  assert.equal(answer.broken, undefined);
  assert.equal(answer.digest, layer.digest);
}

/** Asserts that upstream sent the blob, and less than a tenth of it twice. */
function assertFrugal(proxy: FaultProxy): void {
  const sent = proxy.bytes(/\/blobs\//);
  assert.ok(sent >= SIZE && sent < MOST * SIZE, `upstream sent ${(sent / SIZE).toFixed(3)} times the blob`);
}

/** Reads the response. Once `MID` bytes have arrived, calls `then` while it reads on. */
async function readAndAtMid(url: string, then: () => Promise<unknown>): Promise<Answer> {
  let acted: Promise<unknown> | undefined;
  const answer = await request(url, {
    onProgress: (bytes) => {
      if (bytes >= MID) acted ??= then();
    },
  });
  assert.ok(acted !== undefined, `the response ended after ${answer.body.length} bytes, before its middle`);
  await acted;
  return answer;
}
