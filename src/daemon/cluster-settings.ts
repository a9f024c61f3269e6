/** Turns the configuration of the cluster into the options of its parts. */
import { readFile } from 'node:fs/promises';
import { isIPv6 } from 'node:net';
import { hostname } from 'node:os';
import type { Config } from '../config/settings.ts';
import { errorMessage, systemCode, WeirError } from '../util/errors.ts';
import type { Address } from '../protocol/member.ts';

/**
 * Bytes of text: `openssl rand -base64 32` gives 44, 128 random bits in hexadecimal are 32. An attacker who has seen one
 * handshake can try millions of keys a second on a few cores. So a key must not be one that people make up.
 */
const MIN_KEY_BYTES = 32;
/** Different characters. One random key in 10 million has fewer; a repeated or hand-typed one often has. */
const MIN_KEY_CHARACTERS = 8;
export const MAX_KEY_BYTES = 4096;
const MAKE_KEY = 'make one with: (umask 077; openssl rand -base64 32 > cluster.key)';

/** The characters that `node.zone` allows. */
const ZONE = /^[A-Za-z0-9._/-]{0,63}$/;

export type ClusterMode = 'keyed' | 'open' | 'loopback' | 'off';

export function clusterMode(config: Config): ClusterMode {
  if (config['cluster.mode'] === 'off') return 'off';
  if (config['cluster.key-file'] !== '') return 'keyed';
  return config['cluster.insecure-open'] === 'yes' ? 'open' : 'loopback';
}

/** One that is used, and another one while the key is changed. */
const MAX_KEYS = 2;

/**
 * The keys in the file, one a line: the first one is preferred. None without a file.
 * @throws WeirError `config_invalid`
 */
export async function readClusterKeys(path: string): Promise<readonly Uint8Array[]> {
  if (path === '') return [];
  let text: string;
  try {
    text = (await readFile(path, 'latin1')).trim();
  } catch (cause) {
    throw new WeirError('config_invalid', `cannot read the cluster key: ${errorMessage(cause)}`, { cause });
  }
  const keys = [...new Set(text.split(/\s*\n\s*/))];
  if (keys.length > MAX_KEYS) {
    throw new WeirError('config_invalid', `${path} has more than ${MAX_KEYS} cluster keys, one a line`);
  }
  for (const [index, key] of keys.entries()) {
    const weakness = weaknessOf(key);
    const which = index === 0 ? 'the cluster key' : 'the second cluster key';
    if (weakness !== undefined)
      throw new WeirError('config_invalid', `${which} in ${path} ${weakness}; ${MAKE_KEY}`);
  }
  return keys.map((key) => new Uint8Array(Buffer.from(key, 'latin1')));
}

/** Undefined for a good key. The text gives nothing of the key away. */
export function weaknessOf(key: string): string | undefined {
  if (key.length < MIN_KEY_BYTES) return `could be guessed: it is shorter than ${MIN_KEY_BYTES} bytes`;
  if (key.length > MAX_KEY_BYTES) return `is longer than ${MAX_KEY_BYTES} bytes`;
  if (new Set(key).size >= MIN_KEY_CHARACTERS) return undefined;
  return `could be guessed: it has fewer than ${MIN_KEY_CHARACTERS} different characters`;
}

/** Without a key a node listens on loopback only. */
export function listenOn(addresses: readonly Address[], mode: ClusterMode): readonly Address[] {
  if (mode !== 'loopback') return addresses;
  return addresses.map(({ host, port }) => {
    if (host === 'localhost' || host === '::1' || host.startsWith('127.')) return { host, port };
    return { host: isIPv6(host) ? '::1' : '127.0.0.1', port };
  });
}

export function nodeName(config: Config): string {
  return config['node.name'] === '' ? hostname() : config['node.name'];
}

/** @throws WeirError `config_invalid` if the file holds anything but a zone */
export async function readZone(config: Config): Promise<string> {
  const file = config['node.zone-file'];
  if (config['node.zone'] !== '' || file === '') return config['node.zone'];
  let text: string;
  try {
    text = (await readFile(file, 'utf8')).trim();
  } catch (cause) {
    if (systemCode(cause) === 'ENOENT') return '';
    throw new WeirError('config_invalid', `cannot read the zone: ${errorMessage(cause)}`, { cause });
  }
  if (!ZONE.test(text)) {
    throw new WeirError(
      'config_invalid',
      `${file} holds no zone: a zone has at most 63 letters, digits and ._-/`,
    );
  }
  return text;
}

export function usesMdns(config: Config, mode: ClusterMode): boolean {
  const setting = config['cluster.mdns'];
  if (setting !== 'auto') return setting === 'on';
  return mode === 'keyed' && config['cluster.bootstrap'].length === 0;
}

/**
 * The addresses at which peers find the peer port. If it listens on all interfaces, they have the hosts of libp2p's addresses.
 * @param control multiaddrs
 */
export function dataAddresses(listening: readonly Address[], control: readonly string[]): readonly Address[] {
  const hosts = [...new Set(control.map((address) => address.split('/')[2] ?? ''))];
  const found: Address[] = [];
  for (const { host, port } of listening) {
    if (host !== '0.0.0.0' && host !== '::') found.push({ host, port });
    else
      found.push(
        ...hosts.filter((other) => isIPv6(other) === isIPv6(host)).map((other) => ({ host: other, port })),
      );
  }
  return found;
}
