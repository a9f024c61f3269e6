/**
 * A chunk's hash, and who vouches for it: the member that fetched the chunk from the registry, or one that has
 * found the whole blob right. It is signed, so that a relay can neither change it nor put it into another's mouth,
 * and the one who stated a wrong hash can be told from those who only passed it on.
 */
import { isSignedBy, SIGNATURE_BYTES, type Identity } from '../peer/identity.ts';
import type { PeerName } from '../peer/peer-name.ts';
import type { Digest } from '../oci/digest.ts';

export const HASH_BYTES = 32;

export interface Statement {
  readonly index: number;
  /** sha256 of the chunk. */
  readonly hash: Uint8Array;
  readonly by: PeerName;
  /** Ed25519 over {@link signedBytes}. */
  readonly signature: Uint8Array;
}

/** What is signed: a domain, the blob, its size (which fixes how it is cut), the chunk, its hash. */
function signedBytes(digest: Digest, size: number, index: number, hash: Uint8Array): Uint8Array {
  const head = Buffer.from(`weir/statement/1\0${digest}\0`, 'latin1');
  const numbers = Buffer.alloc(12);
  numbers.writeBigUInt64BE(BigInt(size), 0);
  numbers.writeUInt32BE(index, 8);
  return Buffer.concat([head, numbers, hash]);
}

export function makeStatement(
  identity: Identity,
  digest: Digest,
  size: number,
  index: number,
  hash: Uint8Array,
): Statement {
  const signature = identity.sign(signedBytes(digest, size, index, hash));
  return { index, hash, by: identity.peer, signature };
}

/** Whether the one who is said to state it did. */
export function isGenuine({ index, hash, by, signature }: Statement, digest: Digest, size: number): boolean {
  if (hash.length !== HASH_BYTES || signature.length !== SIGNATURE_BYTES) return false;
  return isSignedBy(by, signedBytes(digest, size, index, hash), signature);
}

export function isSameHash(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

export function isSameStatement(a: Statement, b: Statement): boolean {
  return a.by === b.by && isSameHash(a.hash, b.hash) && isSameHash(a.signature, b.signature);
}
