/**
 * A chunk's hash, and who vouches for it: the member that fetched the chunk from the registry, or one that has
 * found the whole blob right. It is signed, so that a relay can neither change it nor put it into another's mouth,
 * and the one who stated a wrong hash can be told from those who only passed it on.
 *
 * The two kinds differ in what a wrong one proves. A registry can give each member other bytes: a member that was
 * deceived has `fetched` what it states. One that has `verified` the whole blob cannot be deceived: it lies.
 */
import { isSignedBy, SIGNATURE_BYTES, type Identity } from './identity.ts';
import type { PeerId } from './peer-id.ts';
import type { SwarmKey } from './messages.ts';

export const HASH_BYTES = 32;

/** What a member says about a chunk. */
export interface AttestedChunk {
  readonly index: number;
  /** sha256 of the chunk. */
  readonly hash: Uint8Array;
  /** It has found the whole blob right; false: the registry gave it this chunk. */
  readonly verified: boolean;
}

export interface Attestation extends AttestedChunk {
  readonly by: PeerId;
  /** Ed25519 over {@link signedBytes}. */
  readonly signature: Uint8Array;
}

/**
 * What is signed: a domain for each kind, the registry and the blob, its size (which fixes how it is cut), the chunk,
 * its hash. The registry, or what one registry deceived a member into would be held against it in the name of another.
 */
function signedBytes({ registry, digest }: SwarmKey, size: number, claim: AttestedChunk): Uint8Array {
  const domain = claim.verified ? 'weir/verified/1' : 'weir/fetched/1';
  const head = Buffer.from(`${domain}\0${registry}\0${digest}\0`, 'latin1');
  const numbers = Buffer.alloc(12);
  numbers.writeBigUInt64BE(BigInt(size), 0);
  numbers.writeUInt32BE(claim.index, 8);
  return Buffer.concat([head, numbers, claim.hash]);
}

export function attest(identity: Identity, swarm: SwarmKey, size: number, claim: AttestedChunk): Attestation {
  const signature = identity.sign(signedBytes(swarm, size, claim));
  return { ...claim, by: identity.peer, signature };
}

/** Whether the one who is said to state it did. */
export function isGenuine(statement: Attestation, swarm: SwarmKey, size: number): boolean {
  const { hash, by, signature } = statement;
  if (hash.length !== HASH_BYTES || signature.length !== SIGNATURE_BYTES) return false;
  return isSignedBy(by, signedBytes(swarm, size, statement), signature);
}

export function isSameHash(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

/** The kind need not be compared: the signature covers it. */
export function isSameAttestation(a: Attestation, b: Attestation): boolean {
  return a.by === b.by && isSameHash(a.hash, b.hash) && isSameHash(a.signature, b.signature);
}
