/** Where the bytes of a blob came from, as its reader knows it at the end. */
import type { PeerId } from '../protocol/peer-id.ts';

export interface BlobOrigin {
  /** Bytes that were here, that came from peers, and from the registry. After a wrong digest they are more than the blob has. */
  readonly store: number;
  readonly peers: number;
  readonly registry: number;
  readonly byPeer: ReadonlyMap<PeerId, number>;
  /** When the whole blob was here and right, in monotonic milliseconds; undefined if it is not. */
  readonly wholeAt: number | undefined;
  /** Bytes went from the registry to the runtime unstored. */
  readonly passedThrough: boolean;
}

const NO_PEERS: ReadonlyMap<PeerId, number> = new Map();

/** A blob that was here. */
export function localOrigin(size: number): BlobOrigin {
  return { store: size, peers: 0, registry: 0, byPeer: NO_PEERS, wholeAt: 0, passedThrough: false };
}

/** A blob that passes through, behind the bytes that were here. */
export function passedOrigin(size: number, store: number): BlobOrigin {
  return { ...localOrigin(store), registry: size - store, wholeAt: undefined, passedThrough: true };
}

export interface Arrived {
  /** Bytes that are here now. */
  readonly present: number;
  readonly fromRegistry: number;
  readonly byPeer: ReadonlyMap<PeerId, number> | undefined;
  readonly wholeAt: number | undefined;
}

/** A blob that arrives, or has arrived: what is here and came from nobody was here before. */
export function arrivedOrigin({ present, fromRegistry, byPeer = NO_PEERS, wholeAt }: Arrived): BlobOrigin {
  let peers = 0;
  for (const bytes of byPeer.values()) peers += bytes;
  const store = Math.max(0, present - peers - fromRegistry);
  return { store, peers, registry: fromRegistry, byPeer, wholeAt, passedThrough: false };
}
