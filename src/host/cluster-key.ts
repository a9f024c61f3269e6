/**
 * What is made from the cluster key. The key itself is never sent, nor put into anything that is: each use has its
 * own value derived by HKDF (RFC 5869), from which neither the key nor another value can be told.
 */
import { hkdfSync } from 'node:crypto';

const SALT = 'weir/cluster-key/1';
/** Bytes of a derived value. */
const LENGTH = 32;

/**
 * Goes into the prologue of the noise handshake: with another one, or none, the first encrypted message cannot be
 * read and the handshake fails. A cluster without a key has a prologue too, so that it never meets one that has.
 */
export function noisePrologue(key: Uint8Array | undefined): Uint8Array {
  return derive(key, 'noise prologue');
}

/** Eight letters that tell clusters on one LAN apart where names are public: in mDNS and in the gossip topic. */
export function clusterTag(key: Uint8Array | undefined): string {
  return Buffer.from(derive(key, 'public tag')).toString('hex').slice(0, 8);
}

function derive(key: Uint8Array | undefined, use: string): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', key ?? new Uint8Array(), SALT, use, LENGTH));
}
