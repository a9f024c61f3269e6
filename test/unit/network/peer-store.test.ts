import assert from 'node:assert/strict';
import type { PeerId, PeerStore } from '@libp2p/interface';
import { peerIdFromString } from '@libp2p/peer-id';
import { multiaddr } from '@multiformats/multiaddr';
import { createLibp2p } from 'libp2p';
import { withCache } from '../../../src/network/peer-store.ts';
import { Identity } from '../../../src/protocol/identity.ts';

const A = multiaddr('/ip4/10.0.0.1/tcp/4772');
const B = multiaddr('/ip4/10.0.0.2/tcp/4772');

/** The library's store behind the cache, and the calls that reach it. */
async function makeStore(): Promise<{ store: PeerStore; calls: string[]; peer: PeerId }> {
  const { peerStore: store } = await createLibp2p({ start: false });
  const calls: string[] = [];
  for (const name of ['get', 'merge', 'patch'] as const) {
    const method = store[name].bind(store) as (...args: readonly unknown[]) => Promise<never>;
    store[name] = (...args: readonly unknown[]) => {
      calls.push(name);
      return method(...args);
    };
  }
  withCache(store);
  return { store, calls, peer: peerIdFromString(Identity.generate().peer) };
}

describe('withCache (peer store)', () => {
  it('writes a protocol once', async () => {
    const { store, calls, peer } = await makeStore();
    for (const protocol of ['/a', '/a', '/b', '/a', '/b']) await store.merge(peer, { protocols: [protocol] });
    assert.deepEqual(calls, ['merge', 'merge']);
    assert.deepEqual((await store.get(peer)).protocols.toSorted(), ['/a', '/b']);
    assert.deepEqual(calls, ['merge', 'merge']);
  });

  it('writes an address once, with the peer ID or without', async () => {
    const { store, calls, peer } = await makeStore();
    await store.merge(peer, { multiaddrs: [A] });
    await store.merge(peer, { multiaddrs: [A.encapsulate(`/p2p/${peer.toString()}`)] });
    await store.merge(peer, { multiaddrs: [] });
    assert.deepEqual(calls, ['merge']);
    const { addresses } = await store.merge(peer, { multiaddrs: [A, B] });
    assert.deepEqual(calls, ['merge', 'merge']);
    assert.deepEqual(addresses.map(({ multiaddr: address }) => address.toString()).toSorted(), [
      A.toString(),
      B.toString(),
    ]);
  });

  it('writes everything else, and answers with the newest', async () => {
    const { store, peer } = await makeStore();
    await store.merge(peer, { protocols: ['/a'], multiaddrs: [A] });
    await store.merge(peer, { protocols: ['/a'], metadata: { seen: Uint8Array.of(1) } });
    assert.deepEqual((await store.get(peer)).metadata.get('seen'), Uint8Array.of(1));
    await store.patch(peer, { protocols: ['/c'] });
    assert.deepEqual((await store.get(peer)).protocols, ['/c']);
    await store.merge(peer, { protocols: ['/a'] });
    assert.deepEqual((await store.get(peer)).protocols.toSorted(), ['/a', '/c']);
  });

  it('forgets a deleted peer', async () => {
    const { store, peer } = await makeStore();
    await store.merge(peer, { protocols: ['/a'] });
    await store.delete(peer);
    await assert.rejects(store.get(peer), /not found/i);
    await store.merge(peer, { protocols: ['/a'] });
    assert.deepEqual((await store.get(peer)).protocols, ['/a']);
  });

  it('drops the keep-alive tag, and keeps other tags', async () => {
    const { store, peer } = await makeStore();
    await store.merge(peer, { tags: { 'keep-alive-kad-dht': { value: 1 }, 'kad-close': { value: 50 } } });
    assert.deepEqual([...(await store.get(peer)).tags.keys()], ['kad-close']);
  });
});
