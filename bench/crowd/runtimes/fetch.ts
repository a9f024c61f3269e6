/**
 * `fetch`: this process stands in for the runtimes of all nodes and pulls as containerd's CRI does: HEAD of the tag,
 * manifest, config, three layers at a time, every digest checked. It does not go past a mirror that gives up, as
 * containerd would: such a pull has failed, and its reason is told.
 */
import { pullImage } from '../../../src/client/pull-image.ts';
import { parseImageReference } from '../../../src/oci/reference.ts';
import type { Member, Scene, Wares } from '../scene.ts';
import type { RunningSystem } from '../systems/system.ts';
import type { PullResult, RunningRuntime, Runtime } from './runtime.ts';

interface Route {
  /** `HOST:PORT` of the registry, as this process names it. */
  readonly registry: string;
  readonly mirror?: URL;
}

class FetchRuntime implements RunningRuntime {
  readonly versions: Readonly<Record<string, string>> = {};
  readonly #scene: Scene;
  readonly #members: readonly Member[];
  #routes: readonly Route[] = [];

  constructor(scene: Scene, members: readonly Member[]) {
    this.#scene = scene;
    this.#members = members;
  }

  containerd(): undefined {
    return undefined;
  }

  async connect(system: RunningSystem): Promise<void> {
    const { network, registry } = this.#scene;
    this.#routes = await Promise.all(
      this.#members.map(async ({ place }, index): Promise<Route> => {
        const mirror = system.mirror(index);
        if (mirror === undefined) return { registry: await network.forward(place, registry.host) };
        if (mirror.hostname === place.reach) return { registry: registry.host, mirror };
        const forwarded = new URL(`http://${await network.forward(place, mirror.host)}`);
        return { registry: registry.host, mirror: forwarded };
      }),
    );
  }

  async pull(node: number, { image, path }: Wares, signal: AbortSignal): Promise<PullResult> {
    const route = this.#routes[node];
    if (route === undefined) throw new Error(`there is no node ${node}`);
    const reference = parseImageReference(`${route.registry}/${path}`);
    const pulled = await pullImage({
      image: reference,
      mirror: route.mirror,
      registries: new Map([[reference.repository.registry, { plainHttp: true }]]),
      signal,
    });
    if (pulled.digest !== image.digest) throw new Error(`the tag named ${pulled.digest}`);
    return { firstByteSeconds: pulled.firstByteSeconds };
  }

  async kill(): Promise<void> {}

  log(): string {
    return '';
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

export const fetchRuntime: Runtime = {
  name: 'fetch',
  start: async (scene, members) => new FetchRuntime(scene, members),
};
