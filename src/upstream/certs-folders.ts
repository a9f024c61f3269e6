/**
 * Certificates that the runtimes of this machine have for their registries: `<registry>/*.crt` are authorities, and
 * `<registry>/*.cert` with `*.key` is what a client shows (Docker's pattern, which containerd and podman share).
 * https://docs.docker.com/engine/security/certificates/
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { tryParseRegistryHost, type RegistryHost } from '../oci/repository.ts';
import { errorMessage, systemCode } from '../util/errors.ts';
import type { RegistryCertificates, RegistryConfig } from './registry-config.ts';
import { readCertificates, readClient } from './trust.ts';

/** Of containerd, Docker and podman. */
const RUNTIME_FOLDERS = ['/etc/containerd/certs.d', '/etc/docker/certs.d', '/etc/containers/certs.d'];
/** Folders below one of the runtimes'; a machine has a few. */
const MAX_REGISTRIES = 1000;

export interface FoundCertificates {
  readonly certificates: ReadonlyMap<RegistryHost, RegistryCertificates>;
  /** All that were looked at, there or not. */
  readonly folders: readonly string[];
  /** One line for each file that cannot be used. */
  readonly problems: readonly string[];
}

/** @param setting of folders the first that has certificates for a registry wins; a missing one is passed over */
export function readCertsFolders(setting: 'auto' | 'none' | readonly string[]): FoundCertificates {
  const folders = setting === 'auto' ? RUNTIME_FOLDERS : setting === 'none' ? [] : setting;
  const certificates = new Map<RegistryHost, RegistryCertificates>();
  const problems: string[] = [];
  const lookedAt = [...folders];
  for (const parent of folders) {
    for (const name of namesIn(parent, problems).slice(0, MAX_REGISTRIES)) {
      const registry = tryParseRegistryHost(name.replace(/_(\d+)_$/, ':$1'));
      if (registry === undefined || certificates.has(registry)) continue;
      lookedAt.push(join(parent, name));
      const found = readFolder(join(parent, name), problems);
      if (found !== undefined) certificates.set(registry, found);
    }
  }
  return { certificates, folders: lookedAt, problems };
}

/** The files with certificates and keys. */
export function certificateFiles(certificates: Iterable<RegistryCertificates>): readonly string[] {
  const files: string[] = [];
  for (const { caFiles = [], clientCertificate: client } of certificates) {
    files.push(...caFiles);
    if (client !== undefined) files.push(client.certFile, client.keyFile);
  }
  return files;
}

/** The registries with the certificates that they do not name themselves. */
export function withCertificates(
  registries: ReadonlyMap<RegistryHost, RegistryConfig>,
  certificates: ReadonlyMap<RegistryHost, RegistryCertificates> = new Map(),
): ReadonlyMap<RegistryHost, RegistryConfig> {
  const merged = new Map(registries);
  for (const [registry, found] of certificates) {
    const own = registries.get(registry) ?? {};
    merged.set(registry, {
      ...own,
      caFiles: own.caFiles ?? found.caFiles,
      clientCertificate: own.clientCertificate ?? found.clientCertificate,
    });
  }
  return merged;
}

function readFolder(folder: string, problems: string[]): RegistryCertificates | undefined {
  const names = namesIn(folder, problems);
  const caFiles = names
    .filter((name) => name.endsWith('.crt'))
    .map((name) => join(folder, name))
    .filter((file) => isUsable(file, problems, () => readCertificates(file)));
  const clientCertificate = names
    .filter((name) => name.endsWith('.cert') && names.includes(name.replace(/cert$/, 'key')))
    .map((name) => ({ certFile: join(folder, name), keyFile: join(folder, name.replace(/cert$/, 'key')) }))
    .find((pair) => isUsable(pair.keyFile, problems, () => readClient(pair)));
  if (caFiles.length === 0 && clientCertificate === undefined) return undefined;
  return { ...(caFiles.length > 0 && { caFiles }), ...(clientCertificate && { clientCertificate }) };
}

function isUsable(file: string, problems: string[], read: () => unknown): boolean {
  try {
    read();
    return true;
  } catch (error) {
    problems.push(
      `${file} cannot be used for its registry, whose pulls go past Weir: ${errorMessage(error)}`,
    );
    return false;
  }
}

function namesIn(folder: string, problems: string[]): readonly string[] {
  try {
    return readdirSync(folder).toSorted();
  } catch (error) {
    const isAbsent = ['ENOENT', 'ENOTDIR'].includes(systemCode(error) ?? '');
    if (!isAbsent) problems.push(`${folder} cannot be listed: ${errorMessage(error)}`);
    return [];
  }
}
