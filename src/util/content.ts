/** Names the bytes of a blob to a byte worker, without holding them. */

/**
 * A file that a byte worker reads through its descriptor: threads of a process share descriptors. Its owner keeps it open
 * until nobody reads any more. Can be cloned into another thread.
 */
export interface FileContent {
  readonly fd: number;
  /** Bytes of the whole blob. */
  readonly size: number;
  /** Memory of a {@link Progress}: how far it can be read. Undefined: all of it is there. */
  readonly progress?: SharedArrayBuffer | undefined;
  /** Bytes at the end that are held back until the whole digest was found right. */
  readonly heldBack?: number | undefined;
  /** Chunks have to be checked before they are handed out. */
  readonly check?: ChunkCheck | undefined;
}

/** A blob on its way through the memory of one byte worker, from a registry to one client. */
export interface PassContent {
  /** Names it in its worker. */
  readonly pass: number;
  /** The `id` of that worker. */
  readonly worker: number;
  /** Bytes of the whole blob. */
  readonly size: number;
  /** Memory of its Progress. */
  readonly progress: SharedArrayBuffer;
  /** Bytes at the end that are held back until the whole digest was found right. */
  readonly heldBack: number;
}

/** What a byte worker can send. */
export type Content = FileContent | PassContent;

/** How content that this process has not verified yet is checked, chunk by chunk. */
export interface ChunkCheck {
  readonly chunkSize: number;
  /** sha256 of all chunks, one after the other. */
  readonly hashes: SharedArrayBuffer;
  /** A byte for each chunk: 1 once it was found good. Shared by all readers of the blob. */
  readonly checked: SharedArrayBuffer;
}

/** A whole chunk in the memory of a byte worker, hashed, and not written yet. */
export interface HeldChunk {
  /** Bytes. */
  readonly length: number;
  /** sha256, 32 bytes. */
  readonly hash: Uint8Array;
  /** The `id` of the worker whose memory it is in, and its place there. */
  readonly worker: number;
  readonly place: number;
}

/** A chunk that can be written: in the memory of a byte worker, or in this thread's. */
export type ChunkBytes = HeldChunk | Uint8Array;

export function isHeld(bytes: ChunkBytes): bytes is HeldChunk {
  return !(bytes instanceof Uint8Array);
}
