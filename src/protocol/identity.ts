/**
 * The node's own key (Ed25519, RFC 8032). It is kept in the data folder, so that a node keeps its peer ID over
 * restarts.
 */
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  sign,
  verify,
  type KeyObject,
} from 'node:crypto';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { LRUCache } from 'lru-cache';
import { errorMessage, systemCode, WeirError } from '../util/errors.ts';
import { peerIdOf, publicKeyOf, type PeerId } from './peer-id.ts';

/** Only the owner may read a private key. */
const KEY_MODE = 0o600;
/** DER header of an Ed25519 SubjectPublicKeyInfo (RFC 8410, section 4); the 32 bytes of the key follow. */
const SPKI_PREFIX: Buffer = Buffer.from('302a300506032b6570032100', 'hex');
/** Number of parsed peer keys that are cached: the members of the largest cluster. */
const MAX_KEYS = 8192;

export const SIGNATURE_BYTES = 64;

export class Identity {
  readonly peer: PeerId;
  readonly #key: KeyObject;

  constructor(key: KeyObject) {
    if (key.asymmetricKeyType !== 'ed25519') {
      throw new WeirError(
        'store_unusable',
        `the identity is a key of type ${key.asymmetricKeyType}, not ed25519`,
      );
    }
    this.#key = key;
    this.peer = peerIdOf(createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(-32));
  }

  static generate(): Identity {
    return new Identity(generateKeyPairSync('ed25519').privateKey);
  }

  /** Reads the key at `path`, or creates one. @throws WeirError `store_unusable` */
  static async load(path: string): Promise<Identity> {
    try {
      return new Identity(createPrivateKey(await readFile(path)));
    } catch (cause) {
      if (systemCode(cause) !== 'ENOENT') {
        const message = `cannot read ${path}: ${errorMessage(cause)}; remove it to begin with a new identity`;
        throw new WeirError('store_unusable', message, { cause });
      }
    }
    const made = Identity.generate();
    try {
      // The file is renamed into place: a crash must not leave half a key.
      await writeFile(`${path}.new`, made.#key.export({ format: 'pem', type: 'pkcs8' }), { mode: KEY_MODE });
      await rename(`${path}.new`, path);
    } catch (cause) {
      throw new WeirError('store_unusable', `cannot write ${path}: ${errorMessage(cause)}`, { cause });
    }
    return made;
  }

  /** The 64 bytes (seed, public key) that libp2p calls a raw private key. */
  get raw(): Uint8Array {
    const seed = this.#key.export({ format: 'der', type: 'pkcs8' }).subarray(-32);
    return new Uint8Array(Buffer.concat([seed, publicKeyOf(this.peer)]));
  }

  /** 64 bytes. */
  sign(bytes: Uint8Array): Uint8Array {
    return new Uint8Array(sign(null, bytes, this.#key));
  }
}

const keys: LRUCache<PeerId, KeyObject> = new LRUCache({ max: MAX_KEYS });

/** Whether `signature` over `bytes` is the peer's. About 0.1 ms. */
export function isSignedBy(peer: PeerId, bytes: Uint8Array, signature: Uint8Array): boolean {
  if (signature.length !== SIGNATURE_BYTES) return false;
  let key = keys.get(peer);
  if (key === undefined) {
    const der = Buffer.concat([SPKI_PREFIX, publicKeyOf(peer)]);
    key = createPublicKey({ key: der, format: 'der', type: 'spki' });
    keys.set(peer, key);
  }
  return verify(null, bytes, key, signature);
}
