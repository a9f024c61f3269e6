/** What routing/ needs of the network; the host implements it over its DHT. */
import { CID } from 'multiformats/cid';
import { decode } from 'multiformats/hashes/digest';
import type { Digest } from '../oci/digest.ts';
import { multihashOf } from '../protocol/multihash.ts';
import type { PeerId } from '../protocol/peer-id.ts';

/** Holders that a search looks for: whoever would be one more need not be known. */
export const ENOUGH_HOLDERS = 10;

export interface FindProvidersOptions {
  readonly signal: AbortSignal;
  /** Ends when so many of the members that should know have answered; by default when all have. */
  readonly answers?: number;
  /** So many of them are asked at a time. */
  readonly atOnce?: number;
}

export interface ContentRouting {
  /**
   * Writes down with the members nearest to the CID that this node has it.
   * @returns how many have taken it; none where this node is alone
   * @throws the signal's reason
   */
  provide(cid: CID, options: { readonly signal: AbortSignal }): Promise<number>;
  /** Forgets that this node has it; what others have written down runs out. */
  withdraw(cid: CID): Promise<void>;
  /** Who is said to have it, as they are found; without this node. Each is told once. Ends when nobody is left to ask. */
  find(cid: CID, options: FindProvidersOptions): AsyncIterable<PeerId>;
  /** Milliseconds for which a record that is not renewed holds. */
  readonly validity: number;
}

/** The multicodec of bytes without a format. */
const RAW = 0x55;

export function cidOf(digest: Digest): CID {
  return CID.createV1(RAW, decode(multihashOf(digest)));
}
