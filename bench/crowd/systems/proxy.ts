/**
 * `proxy`: the usual central answer. Starts one docker-registry as a pull-through cache (`proxy.remoteurl`), empty, on
 * a host of its own whose link is that of a node; all runtimes ask it.
 */
import type { Scene } from '../scene.ts';
import { Registry } from '../../../test/support/registry.ts';
import type { RunningSystem, System } from './system.ts';

const PORT = 5001;

async function startProxy(scene: Scene): Promise<RunningSystem> {
  const { network, registry, settings } = scene;
  const place = await network.addHost(settings.link);
  const proxy = await Registry.start({
    listen: network.isShaped ? `${place.address}:${PORT}` : '127.0.0.1:0',
    within: place.within,
    remote: registry.url,
  });
  return {
    versions: {},
    knownSeconds: null,
    mirror: () => new URL(proxy.url),
    pids: () => [],
    central: [proxy.pid],
    traffic: async () => undefined,
    kill: async () => undefined,
    log: () => proxy.log,
    [Symbol.asyncDispose]: () => proxy[Symbol.asyncDispose](),
  };
}

export const proxy: System = { name: 'proxy', untold: 'peers', start: startProxy };
