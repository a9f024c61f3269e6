/**
 * Member records: a member's data about itself, signed with the key in its peer ID. Anybody may pass a record on, and
 * nobody can change it. The encoded bytes are kept and passed on as they came: a relay that encoded them anew would
 * lose the fields of a newer version, and break the signature.
 */
import { isIP, isIPv4, isIPv6 } from 'node:net';
import { create, toBinary } from '@bufbuild/protobuf';
import type { Address, Member } from './member.ts';
import { isSignedBy, SIGNATURE_BYTES, type Identity } from './identity.ts';
import { atMost, bytesOf, keyOf, numberIn, parse, peerOf, protocolError, textOf } from './fields.ts';
import { MemberRecordSchema, type SignedRecord } from './weir_pb.ts';

export interface SignedMember {
  readonly member: Member;
  /** The record as its member encoded it; these bytes are signed. */
  readonly encoded: Uint8Array;
  /** Ed25519, 64 bytes. */
  readonly signature: Uint8Array;
}

/** Bounds on a record; together at most about 3 KiB. */
export const RECORD_LIMITS = {
  /** Bytes of an encoded record, with the fields of newer versions. */
  bytes: 4096,
  /** Characters; the limit of a DNS name. */
  name: 253,
  /** Characters; the limit of a Kubernetes label value. */
  zone: 63,
  /** Characters. */
  version: 64,
  /** Control addresses; also data addresses. */
  addresses: 8,
  /** Characters of a multiaddr: a DNS name, protocols and port. */
  multiaddr: 280,
} as const;

/** sha256. */
const FINGERPRINT_BYTES = 32;
const MAX_PORT = 65_535;
/** Keeps a signed record from being taken for anything else signed with the same key. */
const DOMAIN: Buffer = Buffer.from('weir/member/1\0', 'latin1');
const MULTIADDR = /^\/(ip4|ip6|dns|dns4|dns6)\/([^/]+)\/tcp\/([0-9]{1,5})$/;
const DNS_NAME = /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/i;

/** Signs this node's own record. */
export function signMember(identity: Identity, member: Member): SignedMember {
  const { peer, sequence, fingerprint, dataAddresses, controlAddresses, ...rest } = member;
  const record = create(MemberRecordSchema, {
    ...rest,
    peer: keyOf(peer),
    sequence: BigInt(sequence),
    fingerprint,
    controlAddresses: [...controlAddresses],
    dataAddresses: dataAddresses.map(({ host, port }) => ({ host, port })),
  });
  const encoded = toBinary(MemberRecordSchema, record);
  return { member, encoded, signature: identity.sign(signedBytes(encoded)) };
}

/** Whether the member itself signed it. About 0.1 ms. */
export function isGenuineMember({ member, encoded, signature }: SignedMember): boolean {
  return isSignedBy(member.peer, signedBytes(encoded), signature);
}

/**
 * Reads a record and checks its fields, but not its signature: that is expensive, and most records are known already.
 * @throws WeirError `peer_protocol`
 */
export function memberOf(record: SignedRecord | undefined): SignedMember {
  if (record === undefined) throw protocolError('no record');
  if (record.record.length > RECORD_LIMITS.bytes) throw protocolError('a record that is too long');
  const encoded = new Uint8Array(record.record);
  const signature = bytesOf('signature', record.signature, SIGNATURE_BYTES);
  return { member: decodeMember(encoded), encoded, signature };
}

/** The record as it is sent. */
export function recordOf({ encoded, signature }: SignedMember): {
  record: Uint8Array;
  signature: Uint8Array;
} {
  return { record: encoded, signature };
}

/** Whether others can dial this: an IP address or DNS name, and a TCP port. */
export function isControlAddress(text: string): boolean {
  const [, protocol, host = '', port = ''] = MULTIADDR.exec(text) ?? [];
  if (text.length > RECORD_LIMITS.multiaddr || Number(port) < 1 || Number(port) > MAX_PORT) return false;
  if (protocol === 'ip4') return isIPv4(host);
  if (protocol === 'ip6') return isIPv6(host);
  return DNS_NAME.test(host);
}

function signedBytes(encoded: Uint8Array): Uint8Array {
  return Buffer.concat([DOMAIN, encoded]);
}

function decodeMember(encoded: Uint8Array): Member {
  const wire = parse(MemberRecordSchema, encoded);
  const { length } = wire.fingerprint;
  return {
    peer: peerOf('the member', wire.peer),
    sequence: numberIn('sequence', wire.sequence, 0, Number.MAX_SAFE_INTEGER),
    name: textOf('name', wire.name, RECORD_LIMITS.name),
    zone: textOf('zone', wire.zone, RECORD_LIMITS.zone),
    controlAddresses: atMost('control addresses', wire.controlAddresses, RECORD_LIMITS.addresses).map(
      controlAddress,
    ),
    dataAddresses: atMost('data addresses', wire.dataAddresses, RECORD_LIMITS.addresses).map(dataAddress),
    fingerprint: bytesOf('fingerprint', wire.fingerprint, length === 0 ? 0 : FINGERPRINT_BYTES),
    version: textOf('version', wire.version, RECORD_LIMITS.version),
    leaving: wire.leaving,
  };
}

function controlAddress(text: string): string {
  if (!isControlAddress(text)) throw protocolError('not an address that can be dialled');
  return text;
}

function dataAddress({ host, port }: { readonly host: string; readonly port: number }): Address {
  if (isIP(host) === 0 || host.includes('%')) throw protocolError('not an IP address');
  return { host, port: numberIn('port', port, 1, MAX_PORT) };
}
