/**
 * A machine whose Weir is stopped, hung or being upgraded still pulls, and quickly. Its containerd has the hosts.toml
 * that `weir host configure` wrote. The tests run with this machine's containerd and with those of later Debians.
 */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { KIB, MIB, SECOND } from '../../src/util/clock.ts';
import { assertIntact } from '../support/assertions.ts';
import { Containerd } from '../support/containerd.ts';
import { DebianTree, inTree } from '../support/debian-tree.ts';
import { FaultProxy } from '../support/fault-proxy.ts';
import { shared } from '../support/fixture.ts';
import { Freezer } from '../support/freezer.ts';
import { buildImage, type TestImage } from '../support/images.ts';
import { runOk } from '../support/program.ts';
import { push } from '../support/push.ts';
import { Registry } from '../support/registry.ts';
import { requires } from '../support/requires.ts';
import { WeirNode } from '../support/weir.ts';

const LAYERS: readonly number[] = [200 * KIB, 64 * MIB];
/** Bytes a second from the registry to Weir: slow enough that "mid-pull" is no race. */
const RATE = 16 * MIB;
/** Bytes of the large layer that have arrived when something happens to Weir. */
const MID = 24 * MIB;
/** A pull whose mirror refuses the connection may end this much later than a direct one. */
const REFUSED_GRACE = 2 * SECOND;
/** A hung mirror may cost this much: `mirror.hang-timeout` (5 s), a tick of the watchdog, and a loaded machine. */
const HUNG_GRACE = 8 * SECOND;

requires(
  'root',
  'docker-registry',
  'containerd',
  'ctr',
)('order: containerd', () => {
  inOrder(async () => Containerd.start());
});

for (const [suite, version] of [
  ['trixie', '1.7'],
  ['forky', '2'],
] as const) {
  const needs = ['root', 'docker-registry', 'ctr', 'nsenter', inTree(suite, 'containerd')];
  requires(...needs)(`order: containerd ${version}`, () => {
    inOrder(async (stack) => {
      const tree = stack.use(await DebianTree.enter(suite));
      const told = await runOk('containerd', ['--version'], { within: tree.within });
      assert.match(told, new RegExp(` v?${version}\\.`));
      return Containerd.start({ within: tree.within });
    });
  });
}

function inOrder(startContainerd: (stack: AsyncDisposableStack) => Promise<Containerd>): void {
  const lab = shared(async (stack) => {
    const registry = stack.use(await Registry.start());
    // containerd's own way to the registry, and Weir's, which is slow.
    const direct = stack.use(await FaultProxy.start(registry.url));
    const fault = { kind: 'throttle', bytesPerSecond: RATE } as const;
    const slow = stack.use(await FaultProxy.start(registry.url, [{ path: /\/blobs\//, fault }]));
    const containerd = stack.use(await startContainerd(stack));
    return { registry, direct, slow, containerd };
  });

  interface Scene {
    readonly image: TestImage;
    readonly name: string;
    readonly weir: WeirNode;
    /** Milliseconds that the pull takes without a mirror. */
    readonly without: number;
  }

  const setUp = async (seed: string, settings: Readonly<Record<string, string>> = {}): Promise<Scene> => {
    const { registry, direct, slow, containerd } = lab();
    const image = await buildImage({ seed, layers: LAYERS });
    await push(registry.url, `order/${seed}`, 'v1', image);
    const name = `${direct.host}/order/${seed}:v1`;
    await containerd.removeHosts(direct.host);
    const without = await pull(name);
    await containerd.removeImage(name);
    slow.clear();
    direct.clear();
    const weir = await WeirNode.start({ settings, registries: { [direct.host]: { endpoint: slow.url } } });
    await containerd.configure({ mirrorUrl: weir.url, registries: [direct.host] });
    return { image, name, weir, without };
  };

  const pull = async (name: string): Promise<number> => {
    const { error, duration } = await lab().containerd.cri.pull(name, { timeout: 60 * SECOND });
    assert.equal(error, undefined, `${error} after ${Math.round(duration)} ms`);
    return duration;
  };

  const untilMid = async (): Promise<void> => {
    const deadline = Date.now() + 30 * SECOND;
    while (lab().slow.bytes(/\/blobs\//) < MID) {
      assert.ok(Date.now() < deadline, 'the middle of the layer was not reached within 30 s');
      await delay(20);
    }
  };

  it('a pull is as quick as without a mirror if Weir is stopped', async () => {
    const { image, name, weir, without } = await setUp('stopped');
    await using node = weir;
    await node.terminate();
    const duration = await pull(name);
    await assertIntact(lab().containerd, image);
    assert.ok(duration < without + REFUSED_GRACE, `${duration} ms, and ${without} ms without a mirror`);
  });

  it('the watchdog ends a hung Weir, and the pull goes to the registry', async () => {
    const { image, name, weir, without } = await setUp('hung');
    await using node = weir;
    node.signal('SIGSTOP');
    const duration = await pull(name);
    await assertIntact(lab().containerd, image);
    assert.ok(duration < without + HUNG_GRACE, `${duration} ms, and ${without} ms without a mirror`);
    assert.equal((await node.exited).signal, 'SIGKILL');
    await node.logged(/no sign of life for 5 s/);
  });

  it('a pull goes on with the registry if Weir hangs in mid-blob', async () => {
    const { image, name, weir, without } = await setUp('hung-in-mid');
    await using node = weir;
    const began = performance.now();
    const pulling = pull(name);
    await untilMid();
    const before = performance.now() - began;
    node.signal('SIGSTOP');
    const duration = await pulling;
    await assertIntact(lab().containerd, image);
    assert.ok(duration < before + without + HUNG_GRACE, `${duration} ms, hung after ${before} ms`);
    assert.ok(lab().direct.bytes(/\/blobs\//) > 0, 'the rest came from the registry');
  });

  it('a pull goes on with the registry if Weir is killed in mid-blob', async () => {
    const { image, name, weir } = await setUp('killed');
    await using node = weir;
    const pulling = pull(name);
    await untilMid();
    await node.kill();
    await pulling;
    await assertIntact(lab().containerd, image);
  });

  it('an upgrade in mid-pull lets the pull end first, then the new process serves', async () => {
    const { image, name, weir } = await setUp('upgraded');
    await using node = weir;
    const pulling = pull(name);
    await untilMid();
    await node.restart();
    await pulling;
    await assertIntact(lab().containerd, image);
    await lab().containerd.removeImage(name);
    lab().direct.clear();
    await pull(name);
    assert.equal(lab().direct.bytes(), 0, 'the new process serves all of it');
  });

  it('a pull succeeds although an upgrade leaves it no time to drain', async () => {
    const { image, name, weir } = await setUp('cut-off', { 'mirror.drain-timeout': '100ms' });
    await using node = weir;
    const pulling = pull(name);
    await untilMid();
    await node.restart();
    await pulling;
    await assertIntact(lab().containerd, image);
  });

  it('a pull waits for a Weir that is frozen with its watchdog, and goes to the registry once Weir is killed', async () => {
    const { image, name, weir } = await setUp('frozen');
    await using node = weir;
    await using freezer = await Freezer.create();
    await freezer.freeze(node.pid);
    const pulling = pull(name);
    await requestWaits(Number(new URL(node.url).port));
    await freezer.kill();
    assert.equal((await node.exited).signal, 'SIGKILL');
    await pulling;
    await assertIntact(lab().containerd, image);
  });
}

/** Waits until the kernel holds a request to the port that no process has read. */
async function requestWaits(port: number): Promise<void> {
  const own = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  for (const deadline = Date.now() + 30 * SECOND; ; await delay(20)) {
    const rows = (await readFile('/proc/net/tcp', 'latin1'))
      .split('\n')
      .map((row) => row.trim().split(/\s+/));
    // proc_net_tcp.txt: local address, remote address, state (1: established), bytes to send : bytes to read
    const isWaiting = rows.some(
      ([, local, , state, queues]) =>
        local?.endsWith(own) && state === '01' && !queues?.endsWith(':00000000'),
    );
    if (isWaiting) return;
    assert.ok(Date.now() < deadline, 'no request arrived within 30 s');
  }
}
