/**
 * Attestations: a chunk's hash, signed by the member that attests it. That member fetched the chunk from the
 * registry, or verified the whole blob. Because of the signature, a relay can neither change an attestation nor make
 * one in another member's name. So the member that attested a wrong hash can be told from those that only passed it
 * on.
 *
 * The two kinds differ in what a wrong one proves. A registry can send different bytes to each member, so a member
 * that only `fetched` may have been deceived. A member that `verified` the whole blob cannot be deceived: it lies.
 */
import { isSignedBy, SIGNATURE_BYTES, type Identity } from './identity.ts';
import type { PeerId } from './peer-id.ts';
import type { SwarmKey } from './messages.ts';

export const HASH_BYTES = 32;

/** What a member attests about a chunk. */
export interface AttestedChunk {
  readonly index: number;
  /** sha256 of the chunk. */
  readonly hash: Uint8Array;
  /** It verified the whole blob; false: the registry sent it this chunk. */
  readonly verified: boolean;
}

export interface Attestation extends AttestedChunk {
  readonly by: PeerId;
  /** Ed25519 over {@link signedBytes}. */
  readonly signature: Uint8Array;
}

/**
 * The signed bytes: a domain for each kind, the registry, the blob and its size (which fixes the chunks), the chunk
 * and its hash. Without the registry, an attestation of bytes from a deceitful registry could be held against the
 * member in the name of another registry.
 */
function signedBytes({ registry, digest }: SwarmKey, size: number, chunk: AttestedChunk): Uint8Array {
  const domain = chunk.verified ? 'weir/verified/1' : 'weir/fetched/1';
  const head = Buffer.from(`${domain}\0${registry}\0${digest}\0`, 'latin1');
  const numbers = Buffer.alloc(12);
  numbers.writeBigUInt64BE(BigInt(size), 0);
  numbers.writeUInt32BE(chunk.index, 8);
  return Buffer.concat([head, numbers, chunk.hash]);
}

export function attest(identity: Identity, swarm: SwarmKey, size: number, chunk: AttestedChunk): Attestation {
  const signature = identity.sign(signedBytes(swarm, size, chunk));
  return { ...chunk, by: identity.peer, signature };
}

/** Whether the member that it names signed it. */
export function isGenuine(attestation: Attestation, swarm: SwarmKey, size: number): boolean {
  const { hash, by, signature } = attestation;
  if (hash.length !== HASH_BYTES || signature.length !== SIGNATURE_BYTES) return false;
  return isSignedBy(by, signedBytes(swarm, size, attestation), signature);
}

export function isSameHash(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

/** The kinds are not compared: the signature covers them. */
export function isSameAttestation(a: Attestation, b: Attestation): boolean {
  return a.by === b.by && isSameHash(a.hash, b.hash) && isSameHash(a.signature, b.signature);
}
