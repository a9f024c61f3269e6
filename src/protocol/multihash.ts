/** Digests as multihashes (multiformats/multihash): code, length, hash. One form for messages and for the DHT. */
import { digestAlgorithm, digestHex, tryParseDigest, type Digest } from '../oci/digest.ts';

/** Code and length of sha2-256 and sha2-512 in the multicodec table; all four are below 128, so single bytes. */
const HEADS = { sha256: [0x12, 32], sha512: [0x13, 64] } as const;

export function multihashOf(digest: Digest): Uint8Array {
  const [code, length] = HEADS[digestAlgorithm(digest)];
  const bytes = new Uint8Array(2 + length);
  bytes[0] = code;
  bytes[1] = length;
  bytes.set(Buffer.from(digestHex(digest), 'hex'), 2);
  return bytes;
}

/** The digest in a multihash, or undefined if it is of another kind or has another length. */
export function digestOfMultihash(bytes: Uint8Array): Digest | undefined {
  for (const algorithm of ['sha256', 'sha512'] as const) {
    const [code, length] = HEADS[algorithm];
    if (bytes.length === 2 + length && bytes[0] === code && bytes[1] === length) {
      const hex = Buffer.from(bytes.buffer, bytes.byteOffset + 2, length).toString('hex');
      return tryParseDigest(`${algorithm}:${hex}`);
    }
  }
  return undefined;
}
