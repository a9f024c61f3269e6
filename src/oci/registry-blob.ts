/**
 * A blob as one registry has it. Until its digest is verified, everything known about a blob belongs to the registry
 * that it came from: anybody may run a registry and name any digest.
 */
import type { Digest } from './digest.ts';
import type { RegistryHost } from './repository.ts';

export interface RegistryBlob {
  readonly registry: RegistryHost;
  readonly digest: Digest;
}

/** The key of data that belongs to one registry's blob. */
export function registryBlobId({ registry, digest }: RegistryBlob): string {
  return `${registry} ${digest}`;
}
