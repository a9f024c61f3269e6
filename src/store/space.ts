/** Keeps the store within its quota and the free disk, by evicting. */
import { GIB } from '../util/clock.ts';
import { WeirError } from '../util/errors.ts';
import type { Digest } from '../oci/digest.ts';
import type { RegistryBlob } from '../oci/registry-blob.ts';
import type { RegistryHost } from '../oci/repository.ts';
import type { Disk } from './disk.ts';
import { planEviction, planShrink, type EvictionCandidate } from './eviction.ts';
import { admissionProblem, growthProblem, type Holdings } from './room.ts';
import { freePercent, missingBytes } from './watermarks.ts';

const AUTO_QUOTA_MAX = 20 * GIB;
const AUTO_QUOTA_SHARE = 0.1;

/** An entry to evict: a blob, or the partial blob of this name. */
export type Victim =
  | { readonly digest: Digest; readonly partial?: undefined }
  | { readonly digest?: undefined; readonly partial: string };

/** What an eviction has freed. */
export interface Freed {
  /** Blobs and partial blobs. */
  readonly entries: number;
  readonly bytes: number;
}

export interface SpaceOptions {
  /** Of the data folder. */
  readonly disk: Disk;
  /** Bytes; `auto` is the smaller of 20 GiB and a tenth of the disk. */
  readonly quota: number | 'auto';
  readonly holdings: () => Holdings;
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
    const auto = Math.min(AUTO_QUOTA_MAX, Math.floor(disk.space.size * AUTO_QUOTA_SHARE));
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
    if (size > quota) {
      throw new WeirError('store_full', `${digest} has ${size} bytes, the store's quota is ${quota}`);
    }
    const { disk, holdings } = this.#options;
    await this.#lookAtDisk();
    if (disk.state === 'stopped') refuse(size, stopProblem(disk));
    refuse(size, admissionProblem(holdings(), registry, size, { quota, disk: disk.room }));
  }

  /** Makes room for so many more bytes from this registry. @throws WeirError `store_full` */
  async grow(registry: RegistryHost, bytes: number): Promise<void> {
    refuse(bytes, growthProblem(this.#options.holdings(), registry, bytes, this.#quota));
    await this.#lookAtDisk();
    const overDisk = bytes - this.#options.disk.room;
    if (!(await this.#evict(Math.max(this.#overQuota + bytes, overDisk), registry)))
      refuse(bytes, 'the stored blobs are in use or pinned');
  }

  /** Evicts, at the start, until the store is within its quota. */
  async shrink(): Promise<void> {
    await this.#evict(this.#overQuota, undefined);
  }

  /** Evicts until the share of the disk that is to be free is free, or nothing is left that may go. To be called now and then. */
  async keepDiskFree(): Promise<void> {
    await this.#options.disk.look();
    if (this.#options.disk.state !== 'normal') await this.#shrinkForDisk();
  }

  /**
   * Evicts until the store holds at most so many bytes, or nothing is left that may go.
   * @returns the entries and their bytes that went
   */
  shrinkTo(bytes: number): Promise<Freed> {
    return this.#evictSome(this.#used - bytes, () => true);
  }

  /** Evicts what was not used since then (milliseconds since the epoch). */
  evictUnused(since: number): Promise<Freed> {
    return this.#evictSome(Infinity, ({ lastUsed }) => lastUsed < since);
  }

  /** Looks at the disk, and shrinks at once if it has become worse: other programs may fill it before the next turn. */
  async #lookAtDisk(): Promise<void> {
    const { disk } = this.#options;
    const before = disk.state;
    await disk.look();
    if (disk.state === before || disk.state === 'normal' || before === 'stopped') return;
    await this.#shrinkForDisk();
  }

  /** In one pass: the kernel may give freed blocks back late, and a second look would evict the same bytes again. */
  async #shrinkForDisk(): Promise<void> {
    const { disk } = this.#options;
    const missing = missingBytes(disk.space, disk.watermarks.shrinkBelow);
    const { entries } = await this.#evictSome(missing, () => true);
    if (entries > 0) await disk.look({ again: true });
  }

  async #evictSome(
    bytes: number,
    isMeant: (candidate: EvictionCandidate<Victim>) => boolean,
  ): Promise<Freed> {
    const all = [...candidates(this.#options.holdings(), undefined)].filter(isMeant);
    const { keys, freed } = planShrink(all, bytes);
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

function stopProblem({ space, watermarks }: Disk): string {
  return `${freePercent(space).toFixed(1)} % of the disk is free, and below ${watermarks.stopBelow} % nothing new is stored`;
}

function refuse(bytes: number, problem: string | undefined): void {
  if (problem !== undefined) throw new WeirError('store_full', `no room for ${bytes} bytes: ${problem}`);
}
