/**
 * The certificate of the peer wire: self-signed, and made anew at each start. Peers trust it by its fingerprint
 * alone, which the member's signed record carries. The certificate names the member's peer ID, so that nobody passes
 * for a member by copying its fingerprint. Peers do not check its dates; they help people who read a packet trace.
 *
 * The DER is written by hand (X.690; RFC 5280, section 4.1), because a library would cost more memory than the rest
 * of this folder: 8 MiB resident for @peculiar/asn1-x509 and over 20 for @peculiar/x509. Tests read it with
 * node:crypto and openssl.
 */
import { generateKeyPairSync, hash, randomBytes, sign, type X509Certificate } from 'node:crypto';
import { HOUR, SECOND, type Clock } from '../util/clock.ts';
import type { PeerId } from '../protocol/peer-id.ts';

/** Clocks of a cluster differ: for a slow one, a certificate that begins now would not be valid yet. */
const BACKDATED = HOUR;
const VALID = 7 * 24 * HOUR;
/** RFC 5280, section 4.1.2.2: at most 20 bytes. */
const SERIAL_BYTES = 16;

const INTEGER = 0x02;
const BIT_STRING = 0x03;
const UTF8_STRING = 0x0c;
const SEQUENCE = 0x30;
const SET = 0x31;
const UTC_TIME = 0x17;
const GENERALIZED_TIME = 0x18;
/** RFC 5280, section 4.1.2.5: from this year on, a date has a year of four digits. */
const FIRST_LONG_YEAR = 2050;

/** ecdsa-with-SHA256, 1.2.840.10045.4.3.2 (RFC 5758), and id-at-commonName, 2.5.4.3: identifier, length, value. */
const ECDSA_WITH_SHA256: Buffer = Buffer.from('06082a8648ce3d040302', 'hex');
const COMMON_NAME: Buffer = Buffer.from('0603550403', 'hex');

export interface Certificate {
  readonly certPem: string;
  readonly keyPem: string;
  /** sha256 of the DER, 32 bytes. */
  readonly fingerprint: Uint8Array;
}

/** A new key (ECDSA, P-256) and its certificate. About 1 ms. */
export function makeCertificate(peer: PeerId, clock: Clock): Certificate {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const name = sequence(element(SET, sequence(COMMON_NAME, element(UTF8_STRING, Buffer.from(peer)))));
  const begins = clock.now() - BACKDATED;
  // Version 1, the default: a later one is for extensions, and a pinned certificate needs none.
  const signed = sequence(
    element(INTEGER, serialNumber()),
    sequence(ECDSA_WITH_SHA256),
    name,
    sequence(time(begins), time(begins + VALID)),
    name,
    publicKey.export({ format: 'der', type: 'spki' }),
  );
  const signature = sign('sha256', signed, privateKey);
  const der = sequence(signed, sequence(ECDSA_WITH_SHA256), bits(signature));
  return {
    certPem: pem(der),
    keyPem: privateKey.export({ format: 'pem', type: 'pkcs8' }),
    fingerprint: fingerprintOf(der),
  };
}

/** @param der a certificate @returns 32 bytes */
export function fingerprintOf(der: Uint8Array): Uint8Array {
  return new Uint8Array(hash('sha256', der, 'buffer'));
}

/** The peer ID that a certificate names, unchecked; empty if it names none. */
export function nameIn({ subject }: X509Certificate): string {
  return /^CN=(.+)$/.exec(subject)?.[1] ?? '';
}

function element(tag: number, content: Uint8Array): Buffer {
  const { length } = content;
  const head = length < 0x80 ? [tag, length] : [tag, 0x82, length >> 8, length & 0xff];
  return Buffer.concat([Uint8Array.from(head), content]);
}

function sequence(...parts: readonly Uint8Array[]): Buffer {
  return element(SEQUENCE, Buffer.concat(parts));
}

function bits(bytes: Uint8Array): Buffer {
  return element(BIT_STRING, Buffer.concat([Uint8Array.from([0]), bytes])); // 0 bits are unused in the last byte
}

/** Positive, and without zeros in front: DER allows neither. */
function serialNumber(): Buffer {
  const serial = randomBytes(SERIAL_BYTES);
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40;
  return serial;
}

/** @param at milliseconds since the epoch */
function time(at: number): Buffer {
  const date = new Date(Math.floor(at / SECOND) * SECOND);
  const digits = date.toISOString().replaceAll(/[-:T]|\.\d+/g, '');
  const isLong = date.getUTCFullYear() >= FIRST_LONG_YEAR;
  return element(isLong ? GENERALIZED_TIME : UTC_TIME, Buffer.from(isLong ? digits : digits.slice(2)));
}

function pem(der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}
