/**
 * `fetch`: this process stands in for the runtimes of all nodes and pulls as containerd's CRI does: HEAD of the tag,
 * manifest, config, three layers at a time, every digest checked. If the mirror does not answer well, it asks the
 * registry, over the node's own link, and tells the reason.
 */
import { pullImage } from '../../../src/cli/client/pull-image.ts';
import { CLIENT_NAME } from '../../../src/cli/client/registry-session.ts';
import { parseImageReference } from '../../../src/oci/reference.ts';
import { describeFailure } from '../pulls.ts';
import type { Member, Scene, Wares } from '../scene.ts';
import type { RunningSystem } from '../systems/system.ts';
import type { PullResult, RunningRuntime, Runtime } from './runtime.ts';

interface Route {
  /** `HOST:PORT` of the registry, as this process names it. */
  readonly registry: string;
  readonly mirror?: URL;
  /** The registry, over the node's link. */
  readonly fallback?: URL;
}

class FetchRuntime implements RunningRuntime {
  readonly versions: Readonly<Record<string, string>> = {};
  readonly userAgent: string = CLIENT_NAME;
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
        const direct = await network.forward(place, registry.host);
        if (mirror === undefined) return { registry: direct };
        const fallback = new URL(`http://${direct}`);
        if (mirror.hostname === place.reach) return { registry: registry.host, mirror, fallback };
        const forwarded = new URL(`http://${await network.forward(place, mirror.host)}`);
        return { registry: registry.host, mirror: forwarded, fallback };
      }),
    );
  }

  async pull(
    node: number,
    { image, path }: Wares,
    signal: AbortSignal,
    onFallback: (reason: string) => void = (): void => undefined,
  ): Promise<PullResult> {
    const route = this.#routes[node];
    if (route === undefined) throw new Error(`there is no node ${node}`);
    const reference = parseImageReference(`${route.registry}/${path}`);
    const pulled = await pullImage({
      image: reference,
      mirror: route.mirror,
      fallback: route.fallback,
      onFallback: (error) => onFallback(describeFailure(error)),
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
