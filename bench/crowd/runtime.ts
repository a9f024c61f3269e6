/**
 * The runtime of each node. `fetch`: this process stands in for all of them and pulls as containerd's CRI does: HEAD of
 * the tag, manifest, config, three layers at a time, every digest checked. It does not go past a mirror that gives
 * up, as containerd would: such a pull has failed, and its reason is told.
 */
import { pullImage } from '../../src/client/pull-image.ts';
import { parseImageReference } from '../../src/oci/reference.ts';
import type { RunningSystem } from './systems/system.ts';
import type { Member, Scene } from './scene.ts';

export interface PullResult {
  readonly seconds: number;
  /** Seconds until the first byte of the config or a layer; null where the runtime does not tell. */
  readonly firstByteSeconds: number | null;
}

export interface Runtime extends AsyncDisposable {
  readonly versions: Readonly<Record<string, string>>;
  /** Pulls the image; rejects where it did not arrive, whole and right. */
  pull(node: number, signal: AbortSignal): Promise<PullResult>;
}

/** Makes ready what pulls of all nodes need, so that they only pull when they are told to. */
export async function fetchRuntime(
  scene: Scene,
  system: RunningSystem,
  members: readonly Member[],
): Promise<Runtime> {
  const { network, registry, path, image } = scene;
  const routes = await Promise.all(
    members.map(async ({ place }, index) => {
      const mirror = system.mirror(index);
      if (mirror === undefined) return { registry: await network.forward(place, registry.host) };
      if (mirror.hostname === place.reach) return { registry: registry.host, mirror };
      const forwarded = new URL(`http://${await network.forward(place, mirror.host)}`);
      return { registry: registry.host, mirror: forwarded };
    }),
  );
  return {
    versions: {},
    pull: async (node, signal) => {
      const route = routes[node];
      if (route === undefined) throw new Error(`there is no node ${node}`);
      const reference = parseImageReference(`${route.registry}/${path}`);
      const pulled = await pullImage({
        image: reference,
        mirror: route.mirror,
        registries: new Map([[reference.repository.registry, { plainHttp: true }]]),
        signal,
      });
      if (pulled.digest !== image.digest) throw new Error(`the tag named ${pulled.digest}`);
      return { seconds: pulled.seconds, firstByteSeconds: pulled.firstByteSeconds };
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
}
