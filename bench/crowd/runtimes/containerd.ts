/**
 * `containerd`: each node has a real containerd of its own, with content, snapshots and socket of its own, that runs in
 * the node's namespace and is told to pull over CRI (PullImage), as the kubelet does. It checks every digest and unpacks
 * the layers. If the mirror fails, it goes to the registry by itself. It tells neither the reason nor the first byte.
 */
import { Containerd } from '../../../test/support/containerd.ts';
import { findProgram } from '../../../test/support/requires.ts';
import { inParallel } from '../../support/parallel.ts';
import type { Member, Scene, Wares } from '../scene.ts';
import { versionOf } from '../systems/programs.ts';
import type { RunningSystem } from '../systems/system.ts';
import type { ContainerdPlaces, PullResult, RunningRuntime, Runtime } from './runtime.ts';

/** Daemons that start, or end, at a time. */
const AT_ONCE = 4;
/** Milliseconds; pulls are ended by their signal long before. */
const NEVER = 2 ** 31 - 1;

class ContainerdRuntime implements RunningRuntime {
  readonly userAgent = 'containerd/';
  readonly versions: Readonly<Record<string, string>>;
  readonly #scene: Scene;
  readonly #daemons: readonly Containerd[];
  readonly #stack: AsyncDisposableStack;

  constructor(scene: Scene, version: string, daemons: readonly Containerd[], stack: AsyncDisposableStack) {
    this.versions = { containerd: version };
    this.#scene = scene;
    this.#daemons = daemons;
    this.#stack = stack;
  }

  containerd(node: number): ContainerdPlaces {
    const { socket, contentFolder } = this.#daemon(node);
    return { socket, content: contentFolder };
  }

  async connect(system: RunningSystem): Promise<void> {
    const { host, url } = this.#scene.registry;
    for (const [index, daemon] of this.#daemons.entries()) {
      const mirror = system.mirror(index);
      // Without any host containerd 1.6 does not read the server's scheme.
      const mirrors = [mirror === undefined ? url : mirror.origin];
      await daemon.writeHosts({ registry: host, server: url, mirrors });
    }
  }

  async pull(node: number, { image, path }: Wares, signal: AbortSignal): Promise<PullResult> {
    const { registry } = this.#scene;
    const { cri } = this.#daemon(node);
    const name = `${registry.host}/${path}`;
    const { error } = await cri.pull(name, { signal, timeout: NEVER });
    signal.throwIfAborted();
    if (error !== undefined) throw new Error(`CRI PullImage: ${error}`);
    const digests = (await cri.imageStatus(name))?.repo_digests ?? [];
    if (!digests.some((each) => each.endsWith(`@${image.digest}`))) {
      throw new Error(`containerd has ${digests.join(', ') || 'no such image'}`);
    }
    return { firstByteSeconds: null };
  }

  async kill(node: number): Promise<void> {
    await this.#daemon(node).kill();
  }

  log(node: number): string {
    return this.#daemon(node).log;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync();
  }

  #daemon(index: number): Containerd {
    const daemon = this.#daemons[index];
    if (daemon === undefined) throw new Error(`there is no node ${index}`);
    return daemon;
  }
}

async function start(scene: Scene, members: readonly Member[]): Promise<RunningRuntime> {
  await using stack = new AsyncDisposableStack();
  const started: Containerd[] = [];
  stack.defer(async () => void (await inParallel(started, AT_ONCE, (each) => each[Symbol.asyncDispose]())));
  const daemons = await inParallel(members, AT_ONCE, async ({ place }) => {
    scene.signal.throwIfAborted();
    const daemon = await Containerd.start({ within: place.within });
    started.push(daemon);
    return daemon;
  });
  const version = await versionOf(findProgram('containerd') ?? 'containerd', '--version');
  return new ContainerdRuntime(scene, version, daemons, stack.move());
}

export const containerdRuntime: Runtime = { name: 'containerd', start };
