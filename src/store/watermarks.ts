/**
 * Decides what the free space of the disk means for the store, whatever its quota is. Pure.
 *
 * Other programs fill the disk, too, and a kubelet evicts pods of a node whose disk is nearly full. So the store gives way:
 * below one mark it shrinks, below another it takes nothing new. A state ends a little above the mark at which it began:
 * otherwise each blob that comes and each one that goes would end it and begin it again.
 */

/** Percentage points above its mark at which a state ends. */
const MARGIN = 1;

export type DiskState = 'normal' | 'shrinking' | 'stopped';

/** Per cent of the disk; 0: never. `stopBelow` is at most `shrinkBelow`. */
export interface Watermarks {
  /** With less free than this, blobs that nobody uses are evicted. */
  readonly shrinkBelow: number;
  /** With less free than this, nothing new is stored. */
  readonly stopBelow: number;
}

/** Bytes of the file system of the data folder. */
export interface DiskSpace {
  readonly size: number;
  /** Bytes that this process may still write. */
  readonly free: number;
}

/** The free share of the disk in per cent. A file system that does not tell its size counts as empty. */
export function freePercent({ size, free }: DiskSpace): number {
  return size > 0 ? (free / size) * 100 : 100;
}

export function nextDiskState(
  before: DiskState,
  disk: DiskSpace,
  { shrinkBelow, stopBelow }: Watermarks,
): DiskState {
  const free = freePercent(disk);
  if (isBelow(free, stopBelow, before === 'stopped')) return 'stopped';
  return isBelow(free, shrinkBelow, before !== 'normal') ? 'shrinking' : 'normal';
}

function isBelow(free: number, mark: number, wasBelow: boolean): boolean {
  return mark > 0 && free < mark + (wasBelow ? MARGIN : 0);
}

/** Bytes that are missing until `percent` of the disk is free; 0 if none are. */
export function missingBytes(disk: DiskSpace, percent: number): number {
  return Math.max(0, bytesOf(disk, percent) - disk.free);
}

/** Bytes of a share of the disk. */
export function bytesOf({ size }: DiskSpace, percent: number): number {
  return Math.ceil((size * percent) / 100);
}
