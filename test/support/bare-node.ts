import { createLibp2pNode, type Libp2pNode, type Libp2pNodeOptions } from '../../src/network/libp2p-node.ts';
import { ClusterKeys } from '../../src/network/cluster-keys.ts';
import type { Identity } from '../../src/protocol/identity.ts';

/** A libp2p node of the cluster, without the rest of a member. The caller stops it. @param listen default: nobody can dial it */
export async function startBareNode(
  identity: Identity,
  clusterKey: Uint8Array,
  listen: Libp2pNodeOptions['listen'] = [],
): Promise<Libp2pNode> {
  const node = await createLibp2pNode({
    identity,
    clusterKeys: new ClusterKeys([clusterKey]),
    listen,
    announced: (listening) => listening,
    mdns: false,
    version: '0',
    isRefused: () => false,
    isKnown: () => false,
  });
  await node.start();
  return node;
}
