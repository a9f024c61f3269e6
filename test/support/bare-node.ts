import { createLibp2pNode, type Libp2pNode } from '../../src/network/libp2p-node.ts';
import type { Identity } from '../../src/protocol/identity.ts';

/** A libp2p node of the cluster that nobody can dial, without the rest of a member. The caller stops it. */
export async function startBareNode(
  identity: Identity,
  clusterKey: Uint8Array | undefined,
): Promise<Libp2pNode> {
  const node = await createLibp2pNode({
    identity,
    clusterKey,
    listen: [],
    announced: () => [],
    mdns: false,
    version: '0',
    isRefused: () => false,
    isKnown: () => false,
  });
  await node.start();
  return node;
}
