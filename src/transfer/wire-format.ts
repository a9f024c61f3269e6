/**
 * What both ends of the data plane must agree on: names, bounds, and how values stand in headers. The protocol as a
 * whole is told in docs/protocol.md, section "Data plane".
 */
import { KIB, MIB } from '../util/clock.ts';
import { peerIdOf, publicKeyOf } from '../protocol/peer-id.ts';
import { MESSAGE_LIMITS } from '../protocol/messages.ts';
import { HASH_BYTES, type Attestation } from '../protocol/attestation.ts';

/** Ends with the digest; the registry follows as `?registry=`. */
export const BLOB_PATH = '/weir/1/blobs/';

export const HEADER = {
  /** The member that asks, where no certificate says it. */
  peer: 'weir-peer',
  /** Repository: the asked one is asked as home. */
  home: 'weir-home',
  /** Bytes of the blob; beside `home`. */
  size: 'weir-size',
  statement: 'weir-statement',
  load: 'weir-load',
  retry: 'weir-retry-in',
  holders: 'weir-holders',
  unable: 'weir-unable',
} as const;

export const LIMITS = {
  /** Bytes of a piece: the largest chunk. */
  chunk: 8 * MIB,
  /** Bytes of a blob that is asked for whole: the largest manifest that registries take. */
  whole: 4 * MIB,
  /** Characters of a request's target: a sha512 digest and a registry's name of 255 characters, all encoded. */
  target: 1024,
  /** Bytes of a request's head: a Bearer token of 16 KiB is the longest that the mirror takes. */
  requestHead: 20 * KIB,
  /** Bytes of an answer's head; a right one has some 600. */
  answerHead: 8 * KIB,
  /** Milliseconds that a home may send its asker away for. */
  retry: 60_000,
  /** Requests that one node may hold at a time, as far as anyone believes it. */
  load: 1_000_000,
  /** Members that a home may point at. */
  holders: 3,
  /** Bytes of a blob. */
  size: MESSAGE_LIMITS.size,
} as const;

/** TLS 1.3 suites, best first: AES with hardware support in 128 bits costs the least (docs/protocol.md). */
export const CIPHERS = 'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256';

const KEY_BYTES = 32;
const SIGNATURE_BYTES = 64;
const INDEX_BYTES = 4;
const KIND_BYTES = 1;
const ATTESTATION_BYTES = INDEX_BYTES + HASH_BYTES + KEY_BYTES + SIGNATURE_BYTES + KIND_BYTES;
/** The last byte: what its maker knows the hash from. */
const FETCHED = 0;
const VERIFIED = 1;

/** base64url of: index (u32, big-endian), hash, public key of the one who states it, signature, kind. 178 characters. */
export function formatAttestation({ index, hash, by, signature, verified }: Attestation): string {
  const head = Buffer.alloc(INDEX_BYTES);
  head.writeUInt32BE(index);
  const kind = Buffer.of(verified ? VERIFIED : FETCHED);
  return Buffer.concat([head, hash, publicKeyOf(by), signature, kind]).toString('base64url');
}

/** The statement in `text`, unchecked by whom it is; undefined where it is none. */
export function parseAttestation(text: string): Attestation | undefined {
  const bytes = Buffer.from(text, 'base64url');
  // Buffer.from passes over what is not base64: only what comes out the same was written as it should be.
  if (bytes.length !== ATTESTATION_BYTES || bytes.toString('base64url') !== text) return undefined;
  const index = bytes.readUInt32BE(0);
  const kind = bytes[ATTESTATION_BYTES - KIND_BYTES];
  if (index >= MESSAGE_LIMITS.chunks || (kind !== FETCHED && kind !== VERIFIED)) return undefined;
  const part = (start: number, length: number): Uint8Array =>
    new Uint8Array(bytes.subarray(start, start + length));
  return {
    index,
    hash: part(INDEX_BYTES, HASH_BYTES),
    by: peerIdOf(part(INDEX_BYTES + HASH_BYTES, KEY_BYTES)),
    signature: part(INDEX_BYTES + HASH_BYTES + KEY_BYTES, SIGNATURE_BYTES),
    verified: kind === VERIFIED,
  };
}

/** A decimal number without sign or leading zeros, from 0 to `max`; undefined where it is none. */
export function parseNumber(text: string | undefined, max: number): number | undefined {
  if (text === undefined || !/^(?:0|[1-9][0-9]{0,14})$/.test(text)) return undefined;
  const number = Number(text);
  return number <= max ? number : undefined;
}
