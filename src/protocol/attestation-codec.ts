/** Attestations as they travel (weir.proto): in `attested`, and with a chunk. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import { HASH_BYTES, type Attestation } from './attestation.ts';
import { bytesOf, keyOf, numberIn, peerOf } from './fields.ts';
import { SIGNATURE_BYTES } from './identity.ts';
import { MESSAGE_LIMITS } from './messages.ts';
import type { PeerId } from './peer-id.ts';
import type { Attestation as WireAttestation, AttestationSchema } from './weir_pb.ts';

export function attestationToWire({ by, ...rest }: Attestation): MessageInitShape<typeof AttestationSchema> {
  return { ...rest, by: keyOf(by) };
}

/**
 * The attestation, its signature unchecked.
 * @param peerFrom reads the key of the member that attests it
 * @throws WeirError `peer_protocol`
 */
export function attestationFromWire(
  { index, hash, by, signature, verified }: WireAttestation,
  peerFrom: (key: Uint8Array) => PeerId = attestingPeer,
): Attestation {
  return {
    index: chunkIndex(index),
    hash: bytesOf('hash', hash, HASH_BYTES),
    by: peerFrom(by),
    signature: bytesOf('signature', signature, SIGNATURE_BYTES),
    verified,
  };
}

/** @throws WeirError `peer_protocol` */
export function attestingPeer(key: Uint8Array): PeerId {
  return peerOf('the attesting peer', key);
}

/** @throws WeirError `peer_protocol` for a chunk that no blob has */
export function chunkIndex(value: number): number {
  return numberIn('chunk', value, 0, MESSAGE_LIMITS.chunks - 1);
}
