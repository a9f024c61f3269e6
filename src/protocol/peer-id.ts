/** Peer IDs: libp2p peer IDs of Ed25519 keys (libp2p specs, peer-ids), written in base58btc. */
import { base58btc } from 'multiformats/bases/base58';
import { WeirError } from '../util/errors.ts';

declare const peerBrand: unique symbol;

/** A peer ID as text: `12D3KooW…`; it holds the whole public key. Made by {@link parsePeerId} and {@link peerIdOf}. */
export type PeerId = string & { readonly [peerBrand]: true };

/** Identity multihash (0x00) of 36 bytes: a protobuf with key type 1 (Ed25519) and the 32 bytes of the key. */
const PREFIX: Uint8Array = Uint8Array.from([0x00, 0x24, 0x08, 0x01, 0x12, 0x20]);
const KEY_BYTES = 32;
/** Every Ed25519 peer ID has this length and this beginning. */
const SHAPE = /^12D3KooW[1-9A-HJ-NP-Za-km-z]{44}$/;

export function tryParsePeerId(text: string): PeerId | undefined {
  if (!SHAPE.test(text)) return undefined;
  const bytes = decode(text);
  const isOurs = bytes?.length === PREFIX.length + KEY_BYTES && PREFIX.every((byte, i) => bytes[i] === byte);
  return isOurs ? (text as PeerId) : undefined;
}

/** @throws WeirError `bad_request` */
export function parsePeerId(text: string): PeerId {
  const peer = tryParsePeerId(text);
  if (peer === undefined) {
    throw new WeirError(
      'bad_request',
      `not a peer ID: ${JSON.stringify(text.slice(0, 80))} (allowed: 12D3KooW…, 52 characters)`,
    );
  }
  return peer;
}

/** @param publicKey the 32 bytes of an Ed25519 public key */
export function peerIdOf(publicKey: Uint8Array): PeerId {
  return base58btc.baseEncode(Buffer.concat([PREFIX, publicKey])) as PeerId;
}

/** The 32 bytes of the peer's Ed25519 public key. */
export function publicKeyOf(peer: PeerId): Uint8Array {
  return base58btc.baseDecode(peer).subarray(PREFIX.length);
}

function decode(text: string): Uint8Array | undefined {
  try {
    return base58btc.baseDecode(text);
  } catch {
    return undefined; // right shape, but the number is too large
  }
}
