/** Keeps the store within its quota and the free disk, by evicting. */
import { GIB, MIB } from '../util/clock.ts';
import { WeirError } from '../util/errors.ts';
import type { Digest } from '../oci/digest.ts';
import type { RegistryBlob } from '../oci/registry-blob.ts';
import type { RegistryHost } from '../oci/repository.ts';
import type { Disk } from './disk.ts';
import { planEviction, planShrink, type EvictionCandidate } from './eviction.ts';
import { admissionProblem, growthProblem, oversizedProblem, type Holdings } from './room.ts';
import { freePercent, missingBytes } from './watermarks.ts';

const AUTO_QUOTA_MAX = 20 * GIB;
const AUTO_QUOTA_SHARE = 0.1;
/** Bytes that are evicted in one turn: blobs that begin to arrive wait for it. */
const EVICTION_STEP = 256 * MIB;

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
  /** Of those that are not arriving. */
  readonly bytes: number;
  /** Those that nobody reads or writes. */
  readonly idle: readonly EvictionCandidate<Victim>[];
}

/** What an eviction has freed. */
export interface Freed {
  /** Blobs and partial blobs. */
  readonly entries: number;
  readonly bytes: number;
}

type IsMeant = (candidate: EvictionCandidate<Victim>) => boolean;

export interface SpaceOptions {
  /** Of the data folder. */
  readonly disk: Disk;
  /** Bytes; `auto` is the smaller of 20 GiB and a tenth of the disk. */
  readonly quota: number | 'auto';
  readonly holdings: () => Holdings;
  readonly oversized: () => OversizedHoldings;
  readonly evict: (victim: Victim) => Promise<void>;
}

export class Space {
  readonly #options: SpaceOptions;
  #quota = 0;
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
    const { disk, quota } = this.#options;
    await disk.look();
    this.#quota = quotaOn(disk.space.size, quota);
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
    const { disk, holdings, oversized } = this.#options;
    await this.#lookAtDisk();
    if (disk.state === 'stopped') refuse(size, stopProblem(disk));
    if (size <= quota)
      return refuse(size, admissionProblem(holdings(), registry, size, { quota, disk: disk.room }));
    const { arriving, reserved } = oversized();
    const isTrusted = arriving === 0 || holdings().isKnown(registry);
    const problem = oversizedProblem(isTrusted, size, reserved, disk.space);
    if (problem !== undefined)
      throw new WeirError(
        'store_full',
        `no room for ${digest} of ${size} bytes: ${problem} (quota ${quota})`,
      );
  }

  /** Makes room for so many more bytes of an oversized blob. @throws WeirError `store_full` */
  async growOversized(bytes: number): Promise<void> {
    await this.#lookAtDisk();
    if (bytes > this.#options.disk.room) refuse(bytes, 'the disk is full');
  }

  /** Makes room for so many more bytes from this registry. @throws WeirError `store_full` */
  async grow(registry: RegistryHost, bytes: number): Promise<void> {
    refuse(bytes, growthProblem(this.#options.holdings(), registry, bytes, this.#quota));
    await this.#lookAtDisk();
    const { disk, oversized, evict } = this.#options;
    const { idle } = oversized();
    if (bytes > disk.room && idle.length > 0) {
      for (const { key } of idle) await evict(key);
      await disk.look({ again: true });
    }
    const overDisk = bytes - disk.room;
    if (!(await this.#evict(Math.max(this.#overQuota + bytes, overDisk), registry)))
      refuse(bytes, 'the stored blobs are in use or pinned');
  }

  /** Evicts, at the start, until the store is within its quota. */
  async shrink(): Promise<void> {
    await this.#evict(this.#overQuota, undefined);
  }

  /** Evicts until the share of the disk that is to be free is free, or nothing is left that may go. To be called now and then. */
  async keepDiskFree(): Promise<void> {
    const { disk } = this.#options;
    await disk.look();
    if (disk.state === 'normal') return;
    const { entries } = await this.#evictInTurns(this.#missingOnDisk, () => true);
    if (entries > 0) await disk.look({ again: true });
  }

  /**
   * Evicts until the store holds at most so many bytes, or nothing is left that may go.
   * @returns the entries and their bytes that went
   */
  shrinkTo(bytes: number): Promise<Freed> {
    return this.#evictInTurns(this.#used + this.#options.oversized().bytes - bytes, () => true);
  }

  /** Evicts what was not used since then (milliseconds since the epoch). */
  evictUnused(since: number): Promise<Freed> {
    return this.#evictInTurns(Infinity, ({ lastUsed }) => lastUsed < since);
  }

  /** In the turn of a blob: looks at the disk, and begins to shrink if it has become worse, as the next look may be late. */
  async #lookAtDisk(): Promise<void> {
    const { disk } = this.#options;
    const before = disk.state;
    await disk.look();
    if (disk.state === before || disk.state === 'normal' || before === 'stopped') return;
    const { entries } = await this.#evictSome(Math.min(this.#missingOnDisk, EVICTION_STEP), () => true);
    if (entries > 0) await disk.look({ again: true });
  }

  get #missingOnDisk(): number {
    const { disk } = this.#options;
    return missingBytes(disk.space, disk.watermarks.shrinkBelow);
  }

  /**
   * Blobs that begin to arrive get their turns in between. The disk is not asked meanwhile: the kernel may give freed blocks
   * back late, and another look would evict the same bytes again.
   */
  async #evictInTurns(bytes: number, isMeant: IsMeant): Promise<Freed> {
    const total = { entries: 0, bytes: 0 };
    for (let entries = 1; entries > 0 && total.bytes < bytes; total.entries += entries) {
      const step = Math.min(bytes - total.bytes, EVICTION_STEP);
      const freed = await this.inTurn(() => this.#evictSome(step, isMeant));
      total.bytes += freed.bytes;
      entries = freed.entries;
    }
    return total;
  }

  async #evictSome(bytes: number, isMeant: IsMeant): Promise<Freed> {
    const { holdings, oversized } = this.#options;
    const meant = [...oversized().idle, ...candidates(holdings(), undefined)].filter(isMeant);
    const { keys, freed } = planShrink(meant, bytes);
    for (const victim of keys) await this.#options.evict(victim);
    return { entries: keys.length, bytes: freed };
  }

  get #overQuota(): number {
    return this.#used - this.#quota;
  }

  /** Bytes that the store holds. */
  get #used(): number {
    const { arriving, partials, blobBytes } = this.#options.holdings();
    let used = 0;
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
  for (const { digest, size, lastUsed, isInUse, isPinned } of blobs()) {
    yield { key: { digest }, bytes: size, lastUsed, pinned: isInUse || isPinned };
  }
}

/** The quota in bytes on a disk of so many; `auto` is the smaller of 20 GiB and a tenth of it. */
export function quotaOn(diskBytes: number, quota: number | 'auto'): number {
  return quota === 'auto' ? Math.min(AUTO_QUOTA_MAX, Math.floor(diskBytes * AUTO_QUOTA_SHARE)) : quota;
}

function stopProblem({ space, watermarks }: Disk): string {
  return `${freePercent(space).toFixed(1)} % of the disk is free, and below ${watermarks.stopBelow} % nothing new is stored`;
}

function refuse(bytes: number, problem: string | undefined): void {
  if (problem !== undefined) throw new WeirError('store_full', `no room for ${bytes} bytes: ${problem}`);
}
