/**
 * Content digests (OCI image spec, descriptor.md, section "Digests"): `sha256:<64 hex>` or `sha512:<128 hex>`.
 */
import { createHash, hash, type Hash } from 'node:crypto';
import { WeirError } from '../util/errors.ts';

declare const digestBrand: unique symbol;

/** A digest with a known algorithm and hex of the right length. Only this file makes one. */
export type Digest = string & { readonly [digestBrand]: true };

export type DigestAlgorithm = 'sha256' | 'sha512';

const HEX_LENGTH: Readonly<Record<DigestAlgorithm, number>> = { sha256: 64, sha512: 128 };
const DIGEST = /^(sha256|sha512):([0-9a-f]+)$/;

/** The digest in `text`, or undefined if it is not one. Upper-case hex is refused, as the spec says. */
export function tryParseDigest(text: string): Digest | undefined {
  const match = DIGEST.exec(text);
  if (match === null) return undefined;
  const [, algorithm, hex] = match;
  return hex?.length === HEX_LENGTH[algorithm as DigestAlgorithm] ? (text as Digest) : undefined;
}

/** @throws WeirError `digest_invalid` */
export function parseDigest(text: string): Digest {
  const digest = tryParseDigest(text);
  if (digest === undefined) {
    throw new WeirError(
      'digest_invalid',
      `not a digest: ${JSON.stringify(text.slice(0, 140))} (allowed: sha256:<64 hex> and sha512:<128 hex>)`,
    );
  }
  return digest;
}

export function digestAlgorithm(digest: Digest): DigestAlgorithm {
  return digest.startsWith('sha256:') ? 'sha256' : 'sha512';
}

export function digestHex(digest: Digest): string {
  return digest.slice('sha256:'.length); // both algorithms have names of this length
}

/** The digest of `bytes`. */
export function digestOf(bytes: Uint8Array, algorithm: DigestAlgorithm = 'sha256'): Digest {
  return `${algorithm}:${hash(algorithm, bytes, 'hex')}` as Digest;
}

/** An incremental hash that can be compared with `digest` at the end. */
export class DigestVerifier {
  readonly #hash: Hash;
  readonly #expected: Digest;

  constructor(digest: Digest, state?: Hash) {
    this.#expected = digest;
    this.#hash = state ?? createHash(digestAlgorithm(digest));
  }

  update(bytes: Uint8Array): void {
    this.#hash.update(bytes);
  }

  /** A separate verifier with the same bytes hashed so far. */
  fork(): DigestVerifier {
    return new DigestVerifier(this.#expected, this.#hash.copy());
  }

  /** Whether all bytes given to {@link update} have the expected digest; call it once, at the end. */
  matches(): boolean {
    return this.#hash.digest('hex') === digestHex(this.#expected);
  }
}
