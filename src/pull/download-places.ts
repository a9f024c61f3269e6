/** The places for downloads at one time, and which blobs wait for one. */
import { registryBlobId, type RegistryBlob } from '../oci/registry-blob.ts';
import { Semaphore, type Leave } from '../util/semaphore.ts';

export class DownloadPlaces {
  readonly #slots: Semaphore;
  /** How many requests for a blob wait for a place, by {@link registryBlobId}. */
  readonly #waiting: Map<string, number> = new Map();

  constructor(count: number) {
    this.#slots = new Semaphore(count);
  }

  /** Undefined if all are taken. */
  tryTake(): Leave | undefined {
    return this.#slots.tryTake();
  }

  isWaiting(blob: RegistryBlob): boolean {
    return this.#waiting.has(registryBlobId(blob));
  }

  /** The next free place. Those who wait are bounded by the mirror's requests. @throws the signal's reason */
  async take(blob: RegistryBlob, signal: AbortSignal | undefined): Promise<Leave> {
    const waiting = registryBlobId(blob);
    this.#waiting.set(waiting, (this.#waiting.get(waiting) ?? 0) + 1);
    try {
      return await this.#slots.take(signal);
    } finally {
      const others = (this.#waiting.get(waiting) ?? 1) - 1;
      if (others === 0) this.#waiting.delete(waiting);
      else this.#waiting.set(waiting, others);
    }
  }
}
