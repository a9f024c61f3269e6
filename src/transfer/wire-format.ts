/**
 * The names, bounds and header formats on which both ends of the data plane must agree. The whole protocol is
 * described in docs/protocol.md, section "Data plane".
 */
import { KIB, MIB } from '../util/clock.ts';
import { peerIdOf, publicKeyOf } from '../protocol/peer-id.ts';
import { MESSAGE_LIMITS } from '../protocol/messages.ts';
import { HASH_BYTES, type Attestation } from '../protocol/attestation.ts';

/** The digest follows, then the registry as `?registry=`. */
export const BLOB_PATH = '/weir/1/blobs/';

export const HEADER = {
  /** The asker's peer ID, if no certificate names it. */
  peer: 'weir-peer',
  /** Repository; set if the peer is asked as owner. */
  owner: 'weir-home',
  /** The blob's size in bytes; beside `owner`. */
  size: 'weir-size',
  attestation: 'weir-statement',
  load: 'weir-load',
  retry: 'weir-retry-in',
  holders: 'weir-holders',
  unable: 'weir-unable',
} as const;

export const LIMITS = {
  /** Bytes of the largest chunk. */
  chunk: 8 * MIB,
  /** Bytes of a blob that is requested whole: the largest manifest that registries take. */
  whole: 4 * MIB,
  /** Characters of a request's target: a sha512 digest and a registry name of 255 characters, all encoded. */
  target: 1024,
  /** Bytes of a request's head: a Bearer token of 16 KiB is the longest that the mirror takes. */
  requestHead: 20 * KIB,
  /** Bytes of an answer's head; a valid one has some 600. */
  answerHead: 8 * KIB,
  /** Milliseconds for which an owner may tell its asker to wait. */
  retry: 60_000,
  /** Requests that a node may say it holds at a time. */
  load: 1_000_000,
  /** Members that an owner may name as holders. */
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
/** The last byte: how the attesting peer got the hash. */
const FETCHED = 0;
const VERIFIED = 1;

/** base64url of: index (u32, big-endian), hash, public key of the attesting peer, signature, kind. 178 characters. */
export function formatAttestation({ index, hash, by, signature, verified }: Attestation): string {
  const head = Buffer.alloc(INDEX_BYTES);
  head.writeUInt32BE(index);
  const kind = Buffer.of(verified ? VERIFIED : FETCHED);
  return Buffer.concat([head, hash, publicKeyOf(by), signature, kind]).toString('base64url');
}

/** The attestation in `text`, its signature unchecked; undefined if it is malformed. */
export function parseAttestation(text: string): Attestation | undefined {
  const bytes = Buffer.from(text, 'base64url');
  // Buffer.from skips characters that are not base64, so the text must come out the same again.
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

/** A decimal number without sign or leading zeros, from 0 to `max`; undefined if it is malformed. */
export function parseNumber(text: string | undefined, max: number): number | undefined {
  if (text === undefined || !/^(?:0|[1-9][0-9]{0,14})$/.test(text)) return undefined;
  const number = Number(text);
  return number <= max ? number : undefined;
}
