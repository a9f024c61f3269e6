/** The secrets that this configuration knows, by their value, so that they can be taken out wherever they stand. */
import { readFileBounded } from '../../config/read-file.ts';
import type { LoadedConfig } from '../../config/load.ts';
import type { Credential } from '../../upstream/credential.ts';
import { MIB } from '../../util/clock.ts';

/** Bytes; a key has some hundred, Docker's config some KiB. */
const MAX_BYTES = MIB;
/** The sections of Docker's config that hold secrets. Other ones have names of programs and contexts. */
const DOCKER_SECTIONS: ReadonlySet<string> = new Set(['auths', 'HttpHeaders', 'proxies']);
/** Not secret, and often a word that stands everywhere. */
const DOCKER_NAMES: ReadonlySet<string> = new Set(['username', 'email', 'noProxy']);
const PROXIES = /^(?:https?|all)_proxy$/i;

export async function secretsOf(
  { config }: Pick<LoadedConfig, 'config'>,
  env: Readonly<Record<string, string | undefined>>,
): Promise<readonly string[]> {
  const files = [config['cluster.key-file'], config['upstream.docker-config']];
  const [key = '', docker = ''] = await Promise.all(files.map(read));
  const proxies = Object.entries(env).filter(([name]) => PROXIES.test(name));
  return [
    key.trim(),
    ...key.trim().split(/\s+/),
    ...[...config.registries.values()].flatMap(({ credential }) => ofCredential(credential)),
    ...ofDocker(docker),
    ...proxies.flatMap(([, url = '']) => ofUrl(url)),
  ].filter((secret) => secret !== '');
}

async function read(path: string): Promise<string | undefined> {
  if (path === '') return undefined;
  // What this user may not read, it cannot hand on either.
  return readFileBounded(path, MAX_BYTES).catch(() => undefined);
}

function ofCredential(credential: Credential | undefined): readonly string[] {
  if (credential === undefined) return [];
  if (credential.kind === 'bearer') return [credential.token];
  return [credential.password, `${credential.username}:${credential.password}`];
}

function ofDocker(text: string): readonly string[] {
  let config: unknown;
  try {
    config = JSON.parse(text);
  } catch {
    return [text.trim()]; // it cannot be told what in it is a secret
  }
  if (typeof config !== 'object' || config === null) return [];
  const sections = Object.entries(config).filter(([name]) => DOCKER_SECTIONS.has(name));
  return sections.flatMap(([, section]) => leavesOf(section)).flatMap(withDecoded);
}

function leavesOf(value: unknown): readonly string[] {
  if (typeof value === 'string') return [value];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value)
    .filter(([name]) => !DOCKER_NAMES.has(name))
    .flatMap(([, each]) => leavesOf(each));
}

/** `auth` is base64 of `name:password`. */
function withDecoded(leaf: string): readonly string[] {
  const decoded = Buffer.from(leaf, 'base64').toString('utf8');
  const isReadable = /^[\x20-\x7e]+$/.test(decoded) && decoded.includes(':');
  const parts = isReadable ? [decoded, decoded.slice(decoded.indexOf(':') + 1)] : [];
  return [leaf, ...ofUrl(leaf), ...parts];
}

function ofUrl(text: string): readonly string[] {
  const url = URL.parse(text.includes('://') ? text : `http://${text}`);
  if (url === null || url.password === '') return [];
  return [url.password, decodeSafely(url.password)];
}

function decodeSafely(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
