/** What routing/ needs of the network; the host implements it over its DHT. */
import type { CID } from 'multiformats/cid';
import type { PeerName } from '../peer/peer-name.ts';

export interface ContentRouting {
  /**
   * Writes down with the members nearest to the CID that this node has it.
   * @returns how many have taken it; none where this node is alone
   * @throws the signal's reason
   */
  provide(cid: CID, options: { readonly signal: AbortSignal }): Promise<number>;
  /** Forgets that this node has it; what others have written down runs out. */
  withdraw(cid: CID): Promise<void>;
  /** Who is said to have it, as they are found; without this node. Ends when nobody is left to ask. */
  find(cid: CID, options: { readonly signal: AbortSignal }): AsyncIterable<PeerName>;
  /** Milliseconds for which a record that is not renewed holds. */
  readonly validity: number;
}
