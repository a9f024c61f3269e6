/**
 * Who may take how much of the store for blobs that are arriving. Pure.
 *
 * Anybody may own a registry, and announce any size: what is announced takes nothing from others but, within a bound, the
 * right to begin. Bytes that have come take room, and evict what was used least recently; a registry that has not
 * delivered anything yet takes a small share at most.
 */
import type { Digest } from '../oci/digest.ts';
import type { RegistryHost } from '../oci/repository.ts';

/** Of the quota: what all registries together may take that have not delivered anything yet. */
export const UNKNOWN_SHARE = 0.25;
/** Of the quota: what announced sizes may claim, so that two large blobs do not stop each other half-way. */
export const ANNOUNCED_SHARE = 0.5;

/** What is in the store, in bytes. */
export interface Holdings {
  /** Whether the registry has delivered anything. */
  readonly isKnown: (registry: RegistryHost) => boolean;
  /** Blobs that are arriving: the room that they have taken, and the size that was announced. */
  readonly arriving: readonly {
    readonly registry: RegistryHost;
    readonly room: number;
    readonly size: number;
  }[];
  readonly partials: readonly {
    readonly name: string;
    /** Undefined for what an earlier run has left. */
    readonly registry: RegistryHost | undefined;
    readonly bytes: number;
    /** Milliseconds since the epoch. */
    readonly lastUsed: number;
  }[];
  readonly blobs: readonly {
    readonly digest: Digest;
    readonly size: number;
    readonly lastUsed: number;
    /** Being read. */
    readonly isPinned: boolean;
  }[];
}

/** @returns why a blob of this size cannot begin to arrive; undefined if it can */
export function admissionProblem(
  holdings: Holdings,
  registry: RegistryHost,
  size: number,
  limits: { readonly quota: number; /** Bytes that are free on the disk. */ readonly disk: number },
): string | undefined {
  const { arriving, blobs, partials, isKnown } = holdings;
  const taken = sum(arriving.map(({ room }) => room));
  const announced = sum(
    arriving.filter((each) => isKnown(each.registry)).map((each) => each.size - each.room),
  );
  const claimed = Math.min(announced, ANNOUNCED_SHARE * limits.quota);
  const inUse = sum(blobs.map((blob) => (blob.isPinned ? blob.size : 0)));
  if (taken + claimed + inUse + size > limits.quota) return 'what is stored is in use';
  const evictable =
    sum(blobs.map((blob) => (blob.isPinned ? 0 : blob.size))) + sum(partials.map(({ bytes }) => bytes));
  if (claimed + size > limits.disk + evictable) return 'the disk is full';
  return growthProblem(holdings, registry, size, limits.quota);
}

/** @returns why a blob that is arriving may not take so many bytes more; undefined if it may */
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

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0);
}
