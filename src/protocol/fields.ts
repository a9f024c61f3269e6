/** Checks fields that arrive from a peer. All checks are here, so that code behind the codec need not repeat them. */
import { fromBinary, type DescMessage, type MessageShape } from '@bufbuild/protobuf';
import { WeirError } from '../util/errors.ts';
import type { Digest } from '../oci/digest.ts';
import { tryParseRegistryHost, type RegistryHost } from '../oci/repository.ts';
import { peerIdOf, publicKeyOf, type PeerId } from './peer-id.ts';
import { digestOfMultihash } from './multihash.ts';

/** Bytes of an Ed25519 public key: the whole of a peer ID. */
const KEY_BYTES = 32;

/** The error for bytes that break docs/protocol.md. */
export function protocolError(message: string, cause?: unknown): WeirError {
  return new WeirError('peer_protocol', message, cause === undefined ? {} : { cause });
}

/** Reads a message without checking its fields. @throws WeirError `peer_protocol` */
export function parse<Desc extends DescMessage>(schema: Desc, bytes: Uint8Array): MessageShape<Desc> {
  try {
    // Unknown fields are dropped: kept, they would hold the frame in memory.
    return fromBinary(schema, bytes, { readUnknownFields: false });
  } catch (cause) {
    throw protocolError(`not a ${schema.name}`, cause);
  }
}

/** @throws WeirError `peer_protocol` */
export function atMost<T>(what: string, list: readonly T[], max: number): readonly T[] {
  if (list.length > max) throw protocolError(`${list.length} ${what}, at most ${max} are allowed`);
  return list;
}

/** A number from `min` to `max`. @throws WeirError `peer_protocol` */
export function numberIn(what: string, value: number | bigint, min: number, max: number): number {
  const number = Number(value);
  if (number < min || number > max) throw protocolError(`${what} is ${value}, not in ${min} to ${max}`);
  return number;
}

/** A copy of exactly `length` bytes: a view would keep the whole frame in memory. @throws WeirError `peer_protocol` */
export function bytesOf(what: string, bytes: Uint8Array, length: number): Uint8Array {
  if (bytes.length !== length) throw protocolError(`${what} has ${bytes.length} bytes, not ${length}`);
  return new Uint8Array(bytes);
}

/** Whether {@link textOf} accepts it. */
export function isText(text: string, max: number): boolean {
  return text.length <= max && /^[ -~]*$/.test(text);
}

/** Printable ASCII: names end up in terminals, where control characters do harm. @throws WeirError `peer_protocol` */
export function textOf(what: string, text: string, max: number): string {
  if (text.length > max)
    throw protocolError(`${what} has ${text.length} characters, at most ${max} are allowed`);
  if (!/^[ -~]*$/.test(text)) throw protocolError(`${what} has characters that cannot be shown`);
  return text;
}

/** @throws WeirError `peer_protocol` */
export function peerOf(what: string, key: Uint8Array): PeerId {
  return peerIdOf(bytesOf(what, key, KEY_BYTES));
}

/** A peer ID as it is written on the wire. */
export function keyOf(peer: PeerId): Uint8Array {
  return publicKeyOf(peer);
}

/** @throws WeirError `peer_protocol` */
export function registryOf(text: string): RegistryHost {
  const registry = tryParseRegistryHost(text);
  if (registry === undefined) throw protocolError('not a registry');
  return registry;
}

/** @throws WeirError `peer_protocol` */
export function digestField(bytes: Uint8Array): Digest {
  const digest = digestOfMultihash(bytes);
  if (digest === undefined) throw protocolError('not the multihash of a sha256 or sha512 digest');
  return digest;
}
