/**
 * Where blobs came from that were fetched before their runtime asked for them. It finds them in the store a moment later, and
 * its pull would look as if the registry and the peers had had no part in it.
 */
import { LRUCache } from 'lru-cache';
import { registryBlobId, type RegistryBlob } from '../oci/registry-blob.ts';
import type { BlobOrigin } from './blob-origin.ts';

/** As many as the layers of some images. */
const MAX_REMEMBERED = 256;

export class PrefetchedOrigins {
  readonly #origins: LRUCache<string, BlobOrigin> = new LRUCache({ max: MAX_REMEMBERED });

  add(blob: RegistryBlob, origin: BlobOrigin): void {
    this.#origins.set(registryBlobId(blob), origin);
  }

  /** For the first who asks for the blob: to all others it was here. */
  take(blob: RegistryBlob): BlobOrigin | undefined {
    const id = registryBlobId(blob);
    const origin = this.#origins.get(id);
    this.#origins.delete(id);
    return origin;
  }
}
