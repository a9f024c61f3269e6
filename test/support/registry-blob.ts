/** Blobs of a registry, for tests that need only its name. */
import type { Digest } from '../../src/oci/digest.ts';
import type { RegistryBlob } from '../../src/oci/registry-blob.ts';
import { parseRegistryHost } from '../../src/oci/repository.ts';

export function blobAt(digest: Digest, registry = 'registry.test'): RegistryBlob {
  return { registry: parseRegistryHost(registry), digest };
}
