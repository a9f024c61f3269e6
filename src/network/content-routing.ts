/**
 * Finding and announcing the holders of a blob, as provider-search.ts and provider-announcer.ts need it. dht.ts
 * implements it.
 */
import { CID } from 'multiformats/cid';
import { decode } from 'multiformats/hashes/digest';
import type { Digest } from '../oci/digest.ts';
import { multihashOf } from '../protocol/multihash.ts';
import type { PeerId } from '../protocol/peer-id.ts';

/** A search ends when it has found so many holders: one more would not help. */
export const ENOUGH_HOLDERS = 10;

export interface FindProvidersOptions {
  readonly signal: AbortSignal;
  /** Ends after so many members have answered; by default after all of those that should know. */
  readonly answers?: number;
  /** How many are asked at a time. */
  readonly atOnce?: number;
}

export interface ContentRouting {
  /**
   * Tells the members nearest to the CID that this node has the content.
   * @returns how many took it; 0 if this node is alone
   * @throws the signal's reason
   */
  provide(cid: CID, options: { readonly signal: AbortSignal }): Promise<number>;
  /** Forgets that this node has it. The records that others hold expire. */
  withdraw(cid: CID): Promise<void>;
  /** The other nodes that are said to have it, each once, as they are found. Ends when nobody is left to ask. */
  find(cid: CID, options: FindProvidersOptions): AsyncIterable<PeerId>;
  /** Milliseconds until a record expires if it is not renewed. */
  readonly validity: number;
}

/** The multicodec of bytes without a format. */
const RAW = 0x55;

export function cidOf(digest: Digest): CID {
  return CID.createV1(RAW, decode(multihashOf(digest)));
}
