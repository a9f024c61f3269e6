/** The DHT as routing/ sees it. */
import { createHash } from 'node:crypto';
import type { KadDHT } from '@libp2p/kad-dht';
import { CID } from 'multiformats/cid';
import { create } from 'multiformats/hashes/digest';
import type { PeerName } from '../peer/peer-name.ts';
import type { ContentRouting } from '../routing/content-routing.ts';
import { nameOf } from './gater.ts';
import { PROVIDER_VALIDITY } from './node.ts';

const SHA2_256 = 0x12;

export class DhtRouting implements ContentRouting {
  readonly validity: number = PROVIDER_VALIDITY;
  readonly #dht: KadDHT;
  readonly #self: PeerName;

  constructor(dht: KadDHT, self: PeerName) {
    this.#dht = dht;
    this.#self = self;
  }

  async provide(cid: CID, { signal }: { readonly signal: AbortSignal }): Promise<number> {
    let taken = 0;
    for await (const event of this.#dht.provide(keyOf(cid), { signal })) {
      if (event.name === 'PEER_RESPONSE' && event.messageName === 'ADD_PROVIDER') taken += 1;
    }
    return taken;
  }

  async withdraw(cid: CID): Promise<void> {
    await this.#dht.cancelReprovide(keyOf(cid));
  }

  async *find(cid: CID, { signal }: { readonly signal: AbortSignal }): AsyncGenerator<PeerName, void> {
    for await (const event of this.#dht.findProviders(keyOf(cid), { signal })) {
      if (event.name !== 'PROVIDER') continue;
      for (const { id } of event.providers) {
        const peer = nameOf(id);
        if (peer !== undefined && peer !== this.#self) yield peer;
      }
    }
  }
}

/**
 * Provider records are kept under bare multihashes, which kad-dht reads as CIDs: that works for sha2-256 alone, whose
 * multihash is a CID of version 0. Others are looked up by the sha2-256 of their multihash.
 */
function keyOf(cid: CID): CID {
  if (cid.multihash.code === SHA2_256) return cid;
  const hash = createHash('sha256').update(cid.multihash.bytes).digest();
  return CID.createV1(cid.code, create(SHA2_256, hash));
}
