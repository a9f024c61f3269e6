/** The requests of the chart: the zone of a node, and whether all pods of a DaemonSet are ready. */
import * as v from 'valibot';
import { SECOND, type Clock } from '../../util/clock.ts';
import type { KubernetesApi } from './api.ts';

const ZONE_LABEL = 'topology.kubernetes.io/zone';

/** Milliseconds between two looks at a DaemonSet. */
const LOOK_AGAIN = SECOND;

const nodeSchema = v.object({
  metadata: v.object({ labels: v.optional(v.record(v.string(), v.string()), {}) }),
});

const count = v.optional(v.number(), 0);
const daemonSetSchema = v.object({
  metadata: v.object({ generation: v.number() }),
  status: v.object({
    observedGeneration: count,
    desiredNumberScheduled: count,
    numberReady: count,
  }),
});

type Asked = Pick<KubernetesApi, 'get'>;

/** Empty if the node has no such label. */
export async function zoneOf(api: Asked, node: string, signal?: AbortSignal): Promise<string> {
  const answer = await api.get(`/api/v1/nodes/${encodeURIComponent(node)}`, signal);
  return v.parse(nodeSchema, answer).metadata.labels[ZONE_LABEL] ?? '';
}

export interface DaemonSetName {
  readonly namespace: string;
  readonly name: string;
}

/**
 * Resolves with the number of nodes once the DaemonSet has a ready pod on each.
 * @param timeout milliseconds
 * @throws Error with the number of ready nodes, after `timeout`
 */
export async function untilReady(
  api: Asked,
  { namespace, name }: DaemonSetName,
  options: {
    readonly clock: Pick<Clock, 'now' | 'sleep'>;
    readonly timeout: number;
    readonly signal?: AbortSignal;
  },
): Promise<number> {
  const { clock, timeout, signal } = options;
  const path = `/apis/apps/v1/namespaces/${encodeURIComponent(namespace)}/daemonsets/${encodeURIComponent(name)}`;
  const deadline = clock.now() + timeout;
  for (let problem = 'it was not seen'; ;) {
    try {
      const { metadata, status } = v.parse(daemonSetSchema, await api.get(path, signal));
      const { desiredNumberScheduled: wanted, numberReady: ready } = status;
      // The numbers of an older generation do not count: at first all of them are 0.
      if (status.observedGeneration >= metadata.generation && ready >= wanted) return wanted;
      problem = `ready on ${ready} of ${wanted} nodes`;
    } catch (error) {
      signal?.throwIfAborted();
      problem = error instanceof Error ? error.message : String(error); // the API server may be restarting: ask again
    }
    if (clock.now() >= deadline) throw new Error(`${namespace}/${name}: ${problem}`);
    await clock.sleep(LOOK_AGAIN, { signal });
  }
}
