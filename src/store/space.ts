/** Keeps the store within its quota and the free disk, by evicting. */
import { statfs } from 'node:fs/promises';
import { GIB, MIB, MILLISECOND } from '../util/clock.ts';
import { WeirError } from '../util/errors.ts';
import type { Digest } from '../oci/digest.ts';
import type { RegistryBlob } from '../oci/registry-blob.ts';
import type { RegistryHost } from '../oci/repository.ts';
import { planEviction, type EvictionCandidate } from './eviction.ts';
import { admissionProblem, DISK_IS_FULL, growthProblem, oversizedProblem, type Holdings } from './room.ts';

/** Bytes that are left free on the disk for other programs: a full disk makes the kubelet evict pods. */
const DISK_RESERVE = 256 * MIB;
/** Milliseconds for which a look at the disk counts: in that time no node writes more than the reserve. */
const FREE_COUNTS = 100 * MILLISECOND;
const AUTO_QUOTA_MAX = 20 * GIB;
const AUTO_QUOTA_SHARE = 0.1;

/** An entry to evict: a blob, or the partial blob of this name. */
export type Victim =
  | { readonly digest: Digest; readonly partial?: undefined }
  | { readonly digest?: undefined; readonly partial: string };

/** Blobs that are larger than the quota (room.ts). */
export interface OversizedHoldings {
  /** Number of arriving ones. */
  readonly arriving: number;
  /** Bytes that arriving ones have announced, and that have not come. */
  readonly reserved: number;
  /** Those that nobody reads or writes. */
  readonly idle: readonly Victim[];
}

export interface SpaceOptions {
  /** The data folder. */
  readonly root: string;
  /** Bytes; `auto` is the smaller of 20 GiB and a tenth of the disk. */
  readonly quota: number | 'auto';
  readonly holdings: () => Holdings;
  readonly oversized: () => OversizedHoldings;
  readonly evict: (victim: Victim) => Promise<void>;
}

export class Space {
  readonly #options: SpaceOptions;
  #quota = 0;
  /** Bytes that were free at the last look. */
  #freeThen = 0;
  /** Bytes of the disk. */
  #total = 0;
  #lookedAt = -Infinity;
  /** Room is given to one request after the other: two at once would get the same room. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: SpaceOptions) {
    this.#options = options;
  }

  /** Bytes that the store may use. */
  get quota(): number {
    return this.#quota;
  }

  async open(): Promise<void> {
    const { root, quota } = this.#options;
    const disk = await statfs(root);
    const auto = Math.min(AUTO_QUOTA_MAX, Math.floor(disk.blocks * disk.bsize * AUTO_QUOTA_SHARE));
    this.#quota = quota === 'auto' ? auto : quota;
  }

  /** Does the work after all work that was handed in before. */
  inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(work);
    this.#last = done.catch(() => undefined); // its caller gets the error; the next work starts afresh
    return done;
  }

  /** Checks that a blob with an announced size may begin to arrive. @throws WeirError `store_full` */
  async admit({ registry, digest }: RegistryBlob, size: number): Promise<void> {
    const quota = this.#quota;
    const free = await this.#free();
    const holdings = this.#options.holdings();
    if (size <= quota) return refuse(size, admissionProblem(holdings, registry, size, { quota, disk: free }));
    const disk = { free, total: this.#total };
    const { arriving, reserved } = this.#options.oversized();
    const isTrusted = arriving === 0 || holdings.isKnown(registry);
    const problem = oversizedProblem(isTrusted, size, reserved, disk);
    if (problem !== undefined)
      throw new WeirError(
        'store_full',
        `no room for ${digest} of ${size} bytes: ${problem} (quota ${quota})`,
        { detail: { reason: 'quota', size, quota } },
      );
  }

  /** Makes room for so many more bytes of an oversized blob. @throws WeirError `store_full` */
  async growOversized(bytes: number): Promise<void> {
    if (bytes > (await this.#free())) refuse(bytes, DISK_IS_FULL);
  }

  /** Makes room for so many more bytes from this registry. @throws WeirError `store_full` */
  async grow(registry: RegistryHost, bytes: number): Promise<void> {
    refuse(bytes, growthProblem(this.#options.holdings(), registry, bytes, this.#quota));
    let overDisk = bytes - (await this.#free());
    if (overDisk > 0) {
      for (const victim of this.#options.oversized().idle) await this.#options.evict(victim);
      this.#lookedAt = -Infinity;
      overDisk = bytes - (await this.#free());
    }
    if (!(await this.#evict(Math.max(this.#overQuota + bytes, overDisk), registry)))
      refuse(bytes, 'the stored blobs are in use');
  }

  /** Evicts, at the start, until the store is within its quota. */
  async shrink(): Promise<void> {
    await this.#evict(this.#overQuota, undefined);
  }

  async #free(): Promise<number> {
    const now = performance.now();
    if (now - this.#lookedAt > FREE_COUNTS) {
      const disk = await statfs(this.#options.root);
      this.#total = disk.blocks * disk.bsize;
      this.#freeThen = disk.bavail * disk.bsize - DISK_RESERVE;
      this.#lookedAt = now;
    }
    return this.#freeThen;
  }

  get #overQuota(): number {
    const { arriving, partials, blobBytes } = this.#options.holdings();
    let used = -this.#quota;
    for (const { room } of arriving) used += room;
    for (const { bytes } of partials) used += bytes;
    return used + blobBytes;
  }

  /** @returns false if so many bytes cannot be freed; nothing is evicted then */
  async #evict(bytes: number, registry: RegistryHost | undefined): Promise<boolean> {
    if (bytes <= 0) return true;
    const victims = planEviction(candidates(this.#options.holdings(), registry), bytes);
    for (const victim of victims ?? []) await this.#options.evict(victim);
    return victims !== undefined;
  }
}

/** @param registry the registry that needs room */
function* candidates(
  { partials, blobs }: Holdings,
  registry: RegistryHost | undefined,
): Iterable<EvictionCandidate<Victim>> {
  for (const { name, bytes, lastUsed, registry: owner } of partials) {
    // If a registry needs room, its own partial blobs go before any whole blob.
    const isOwn = registry !== undefined && owner === registry;
    yield { key: { partial: name }, bytes, lastUsed: isOwn ? 0 : lastUsed, pinned: false };
  }
  for (const { digest, size, lastUsed, isPinned } of blobs()) {
    yield { key: { digest }, bytes: size, lastUsed, pinned: isPinned };
  }
}

function refuse(bytes: number, problem: string | undefined): void {
  if (problem === undefined) return;
  const detail = { reason: problem === DISK_IS_FULL ? 'disk' : 'room' };
  throw new WeirError('store_full', `no room for ${bytes} bytes: ${problem}`, { detail });
}
