/**
 * Decides how much of the store arriving blobs of each registry may take. Pure.
 *
 * Anybody may run a registry, and announce any size. So an announced size takes no room; within a bound, it only keeps
 * others from beginning. Bytes that have come take room, and evict the blobs that were used least recently. A registry
 * that has not delivered anything yet gets a small share at most.
 *
 * A blob that is larger than the quota is oversized: it is shared while it is pulled, on disk that is free anyway, and does
 * not count against the quota.
 */
import type { Digest } from '../oci/digest.ts';
import type { RegistryHost } from '../oci/repository.ts';

/** Share of the quota for all registries together that have not delivered anything yet. */
export const UNKNOWN_SHARE = 0.25;
/** Share of the quota that announced sizes may reserve, so that two large blobs do not stop each other half-way. */
export const ANNOUNCED_SHARE = 0.5;

/** Share of the disk that oversized blobs leave free. */
export const OVERSIZED_LEAVES = 0.15;

/** The contents of the store, in bytes, without the oversized. */
export interface Holdings {
  /** Whether the registry has delivered anything. */
  readonly isKnown: (registry: RegistryHost) => boolean;
  /** Arriving blobs: the room that they have taken, and the announced size. */
  readonly arriving: readonly {
    readonly registry: RegistryHost;
    readonly room: number;
    readonly size: number;
  }[];
  readonly partials: readonly {
    readonly name: string;
    /** Undefined for a partial blob of an earlier run. */
    readonly registry: RegistryHost | undefined;
    readonly bytes: number;
    /** Milliseconds since the epoch. */
    readonly lastUsed: number;
  }[];
  /** Of the committed blobs, all together. */
  readonly blobBytes: number;
  /** The committed blobs: there may be tens of thousands. */
  readonly blobs: () => Iterable<HeldBlob>;
}

export interface HeldBlob {
  readonly digest: Digest;
  readonly size: number;
  readonly lastUsed: number;
  /** Being read. */
  readonly isInUse: boolean;
  /** To be kept: imported, or pinned by an operator. */
  readonly isPinned: boolean;
}

/** @returns the reason why a blob of this size cannot begin to arrive; undefined if it can */
export function admissionProblem(
  holdings: Holdings,
  registry: RegistryHost,
  size: number,
  limits: { readonly quota: number; /** Bytes that are free on the disk. */ readonly disk: number },
): string | undefined {
  const { arriving, blobs, blobBytes, partials, isKnown } = holdings;
  const taken = sum(arriving.map(({ room }) => room));
  const announced = sum(
    arriving.filter((each) => isKnown(each.registry)).map((each) => each.size - each.room),
  );
  const reserved = Math.min(announced, ANNOUNCED_SHARE * limits.quota);
  let kept = 0;
  for (const blob of blobs()) if (blob.isInUse || blob.isPinned) kept += blob.size;
  if (taken + reserved + kept + size > limits.quota) return 'the stored blobs are in use or pinned';
  const evictable = blobBytes - kept + sum(partials.map(({ bytes }) => bytes));
  if (reserved + size > limits.disk + evictable) return 'the disk is full';
  return growthProblem(holdings, registry, size, limits.quota);
}

/** @returns the reason why an arriving blob may not take so many more bytes; undefined if it may */
export function growthProblem(
  { arriving, partials, isKnown }: Holdings,
  registry: RegistryHost,
  bytes: number,
  quota: number,
): string | undefined {
  if (isKnown(registry)) return undefined;
  const unknown =
    sum(arriving.map((each) => (isKnown(each.registry) ? 0 : each.room))) +
    sum(partials.map((each) => (each.registry !== undefined && isKnown(each.registry) ? 0 : each.bytes)));
  if (unknown + bytes <= UNKNOWN_SHARE * quota) return undefined;
  return `${registry} has not delivered anything yet, and such registries have taken their share`;
}

/**
 * @param isTrusted the registry has delivered something, or no other such blob is arriving
 * @param reserved bytes that oversized blobs which are arriving have announced, and that have not come
 * @returns the reason why an oversized blob cannot begin to arrive; undefined if it can
 */
export function oversizedProblem(
  isTrusted: boolean,
  size: number,
  reserved: number,
  disk: { readonly free: number; readonly size: number },
): string | undefined {
  if (!isTrusted) return 'it is larger than the quota, and its registry has not delivered anything yet';
  if (disk.free - reserved - size >= OVERSIZED_LEAVES * disk.size) return undefined;
  return 'it is larger than the quota, and the free disk is too small for it';
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0);
}
