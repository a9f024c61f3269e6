/** Looks at the file system of the data folder, and remembers in which state it is. */
import { statfs } from 'node:fs/promises';
import { MIB, MILLISECOND, type Clock } from '../util/clock.ts';
import { writeError } from './file.ts';
import {
  bytesOf,
  freePercent,
  nextDiskState,
  type DiskSpace,
  type DiskState,
  type Watermarks,
} from './watermarks.ts';

/** Bytes that are left free on the disk for other programs, at least: a full disk makes the kubelet evict pods. */
export const DISK_RESERVE: number = 256 * MIB;
/** Milliseconds for which a look at the disk counts: in that time no node writes more than the reserve. */
const LOOK_COUNTS = 100 * MILLISECOND;

/** Both marks off. */
const NO_WATERMARKS: Watermarks = { shrinkBelow: 0, stopBelow: 0 };

/** Reads the space of the file system that has this path. */
export type ReadDiskSpace = (path: string) => Promise<DiskSpace>;

export interface DiskChange {
  readonly from: DiskState;
  readonly to: DiskState;
  /** Per cent. */
  readonly free: number;
}

export interface DiskOptions {
  readonly root: string;
  readonly clock: Clock;
  /** Default: none. */
  readonly watermarks?: Watermarks | undefined;
  /** Default: statfs(2). */
  readonly readSpace?: ReadDiskSpace | undefined;
  readonly onChange?: ((change: DiskChange) => void) | undefined;
}

export class Disk {
  readonly #options: DiskOptions;
  readonly watermarks: Watermarks;
  #state: DiskState = 'normal';
  #space: DiskSpace = { size: 0, free: 0 };
  #lookedAt = -Infinity;

  constructor(options: DiskOptions) {
    this.#options = options;
    this.watermarks = options.watermarks ?? NO_WATERMARKS;
  }

  /** As of the last look. */
  get state(): DiskState {
    return this.#state;
  }

  /** As of the last look. */
  get space(): DiskSpace {
    return this.#space;
  }

  /** Bytes that the store may still write, without what stays free for others; as of the last look. */
  get room(): number {
    return this.#space.free - Math.max(DISK_RESERVE, bytesOf(this.#space, this.watermarks.stopBelow));
  }

  /**
   * @param options.again look even if a look has just been made
   * @throws WeirError `store_unusable` if the file system does not answer
   */
  async look({ again = false }: { readonly again?: boolean } = {}): Promise<void> {
    const { root, clock, readSpace = systemSpace, onChange } = this.#options;
    if (!again && clock.monotonic() - this.#lookedAt <= LOOK_COUNTS) return;
    try {
      this.#space = await readSpace(root);
    } catch (cause) {
      throw writeError(cause);
    }
    this.#lookedAt = clock.monotonic();
    const from = this.#state;
    this.#state = nextDiskState(from, this.#space, this.watermarks);
    if (from !== this.#state) onChange?.({ from, to: this.#state, free: freePercent(this.#space) });
  }
}

async function systemSpace(path: string): Promise<DiskSpace> {
  const { blocks, bavail, bsize } = await statfs(path);
  return { size: blocks * bsize, free: bavail * bsize };
}
