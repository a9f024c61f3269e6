/** Answers what an operator asks of the store, and does what they want with it; each change is logged. */
import { setImmediate as turn } from 'node:timers/promises';
import { WeirError } from '../util/errors.ts';
import type { Digest } from '../oci/digest.ts';
import { formatImageReference, type ImageReference } from '../oci/reference.ts';
import type {
  FreedReport,
  PinReport,
  StoredBlobReport,
  StoreListing,
  StoreOrder,
} from '../status/store-report.ts';
import type { Catalog } from '../store/catalog.ts';
import type { Freed } from '../store/space.ts';
import type { FsStore } from '../store/fs-store.ts';
import type { StoredBlob } from '../store/store-keeper.ts';
import type { BlobProvider } from '../store/store.ts';
import { imageBlobs } from './image-blobs.ts';
import type { Logger } from './logger.ts';
import { storeReport } from './status-source.ts';

/** Rows of a listing between two turns of the event loop: the catalog is asked for each. */
const ROWS_IN_TURN = 500;

const ORDERS: Readonly<Record<StoreOrder, (a: StoredBlob, b: StoredBlob) => number>> = {
  'last-use': (a, b) => b.lastUsed - a.lastUsed,
  size: (a, b) => b.size - a.size,
  digest: (a, b) => (a.digest < b.digest ? -1 : 1),
};

export interface StoreAdminOptions {
  readonly store: FsStore;
  readonly catalog: Catalog;
  /** Where manifests are. */
  readonly providers: readonly BlobProvider[];
  readonly logger: Logger;
}

export class StoreAdmin {
  readonly #options: StoreAdminOptions;

  constructor(options: StoreAdminOptions) {
    this.#options = options;
  }

  async list(order: StoreOrder, limit: number): Promise<StoreListing> {
    const { store, catalog } = this.#options;
    const sorted = [...store.keeper.list()].sort(ORDERS[order]).slice(0, limit);
    const tagged = catalog.taggedDigests();
    const blobs: StoredBlobReport[] = [];
    for (const [at, { digest, size, lastUsed, isInUse, isPinned, verifiedAt }] of sorted.entries()) {
      if (at % ROWS_IN_TURN === ROWS_IN_TURN - 1) await turn();
      const { repositories, kind } = catalog.originOf(digest);
      blobs.push({
        digest,
        size,
        last_used: timeOf(lastUsed),
        in_use: isInUse,
        pinned: isPinned,
        verified: verifiedAt === undefined ? undefined : timeOf(verifiedAt),
        kind: kind ?? (tagged.has(digest) ? 'manifest' : undefined),
        repositories,
      });
    }
    return { store: storeReport(store.usage()), blobs };
  }

  /** @throws WeirError `blob_unknown`; `bad_request` if it is in use or pinned, without `force` */
  async remove(digest: Digest, force: boolean): Promise<FreedReport> {
    const { store, logger } = this.#options;
    const size = (await store.stat(digest))?.size ?? 0;
    const removal = await store.keeper.remove(digest, { force });
    if (removal === 'absent') throw unknown(digest);
    if (removal !== 'removed') {
      const advice = removal === 'pinned' ? 'unpin it first, or force it' : 'try again later, or force it';
      throw new WeirError('bad_request', `${digest} is ${removal}: ${advice}`);
    }
    logger.info({ digest, force }, 'blob removed by hand');
    return this.#freed({ entries: 1, bytes: size });
  }

  /** @throws WeirError `blob_unknown`; `store_full` if pins would take too much; `store_unusable` */
  async pin(digest: Digest): Promise<PinReport> {
    const report = await this.#pin([digest]);
    if (report.digests.length === 0) throw unknown(digest);
    this.#options.logger.info({ digest }, 'blob pinned');
    return report;
  }

  /** @throws WeirError as {@link pin}, and `manifest_unknown` */
  async pinImage(image: ImageReference): Promise<PinReport> {
    const digests = await imageBlobs(image, this.#options);
    const report = await this.#pin(digests);
    const name = formatImageReference(image);
    if (report.digests.length === 0)
      throw new WeirError(
        'blob_unknown',
        `no blob of ${name} is in the store: the runtime's own content cannot be pinned`,
      );
    this.#options.logger.info(
      { image: name, blobs: report.digests.length, absent: report.absent },
      'image pinned',
    );
    return report;
  }

  /** @throws WeirError `blob_unknown` if it is not pinned; `store_unusable` */
  async unpin(digest: Digest): Promise<PinReport> {
    const { store, logger } = this.#options;
    if ((await store.keeper.unpin([digest])) === 0)
      throw new WeirError('blob_unknown', `${digest} is not pinned`);
    logger.info({ digest }, 'blob unpinned');
    return this.#report([digest], 0);
  }

  /** @throws WeirError `manifest_unknown`; `blob_unknown` if nothing of it is pinned; `store_unusable` */
  async unpinImage(image: ImageReference): Promise<PinReport> {
    const { store, logger } = this.#options;
    const digests = await imageBlobs(image, this.#options);
    const pinned = digests.filter((digest) => store.keeper.isPinned(digest));
    const name = formatImageReference(image);
    if ((await store.keeper.unpin(pinned)) === 0)
      throw new WeirError('blob_unknown', `no blob of ${name} is pinned`);
    logger.info({ image: name, blobs: pinned.length }, 'image unpinned');
    return this.#report(pinned, digests.length - pinned.length);
  }

  async shrinkTo(bytes: number): Promise<FreedReport> {
    return this.#collected(await this.#options.store.keeper.shrinkTo(bytes));
  }

  /** @param duration milliseconds */
  async evictUnused(duration: number): Promise<FreedReport> {
    return this.#collected(await this.#options.store.keeper.evictUnused(duration));
  }

  async #pin(digests: readonly Digest[]): Promise<PinReport> {
    const pinned = await this.#options.store.keeper.pin(digests);
    return this.#report(
      pinned.map(({ digest }) => digest),
      digests.length - pinned.length,
    );
  }

  #report(digests: readonly Digest[], absent: number): PinReport {
    const store = storeReport(this.#options.store.usage());
    return { digests, bytes: store.pinned_bytes, absent, store };
  }

  #collected(freed: Freed): FreedReport {
    this.#options.logger.info({ removed: freed.entries, bytes: freed.bytes }, 'store shrunk by hand');
    return this.#freed(freed);
  }

  #freed({ entries, bytes }: Freed): FreedReport {
    return { removed: entries, freed_bytes: bytes, store: storeReport(this.#options.store.usage()) };
  }
}

function unknown(digest: Digest): WeirError {
  return new WeirError('blob_unknown', `${digest} is not in the store`);
}

function timeOf(milliseconds: number): string {
  return new Date(milliseconds).toISOString();
}
