/**
 * Watches files, and the folders that hold them, so that a file that is replaced is noticed, also behind links: the kubelet
 * changes a mounted Secret by one link.
 *
 * inotify makes it prompt. It does not decide: each event, and a look each 10 s, compares what stat says of the files. So it
 * works without inotify instances, on network file systems, and where a link leads into a folder that is not watched.
 */
import { watch, type FSWatcher } from 'node:fs';
import { realpath, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { MILLISECOND, SECOND } from '../util/clock.ts';

/** Milliseconds between two looks without an event. */
const LOOK_INTERVAL = 10 * SECOND;
/** Milliseconds for which files must stay as they are: an editor truncates a file before it writes it. */
const SETTLE = 250 * MILLISECOND;
/** Watched folders. Each is one of the user's inotify watches; beyond it looks alone are made. */
const MAX_FOLDERS = 128;
/** What no {@link print} is. */
const CHANGED = 'changed';

export interface FileWatchOptions {
  /** The files have changed, and have stayed as they are for a moment. */
  readonly onChange: () => void;
  /** Milliseconds; default {@link LOOK_INTERVAL}. */
  readonly interval?: number | undefined;
  /** Default: that of node:fs. */
  readonly watchFolder?: typeof watch | undefined;
}

export class FileWatch implements Disposable {
  readonly #options: FileWatchOptions;
  readonly #folders = new Map<string, FSWatcher | undefined>();
  readonly #looks: NodeJS.Timeout;
  #paths: readonly string[] = [];
  /** What stat said when it was last told; and a change of it that is not told yet. */
  #known = '';
  #seen: string | undefined;
  #soon: NodeJS.Timeout | undefined;
  #watching: Promise<void> = Promise.resolve();
  #isLooking = false;
  #isClosed = false;

  constructor(options: FileWatchOptions) {
    this.#options = options;
    this.#looks = setInterval(() => void this.#look(), options.interval ?? LOOK_INTERVAL).unref();
  }

  /** Watches these files and folders from now on; they need not exist. What they are now is no change. Never rejects. */
  watch(paths: readonly string[]): Promise<void> {
    this.#watching = this.#watching.then(() => this.#change(paths));
    return this.#watching;
  }

  async #change(paths: readonly string[]): Promise<void> {
    if (paths.join('\0') !== this.#paths.join('\0')) {
      // Those that were watched before may have changed since: that is still to be told.
      const isUnchanged = (await print(this.#paths)) === this.#known;
      const known = isUnchanged ? await print(paths) : CHANGED;
      this.#paths = paths;
      this.#known = known;
      if (!isUnchanged) this.#lookSoon();
    }
    await this.#watchFolders();
  }

  async #watchFolders(): Promise<void> {
    const folders = new Set<string>();
    for (const path of this.#paths) {
      folders.add(dirname(path));
      const real = await realpath(path).catch(() => path);
      folders.add(dirname(real));
    }
    if (this.#isClosed) return;
    for (const [folder, watcher] of this.#folders) {
      if (folders.has(folder)) continue;
      watcher?.close();
      this.#folders.delete(folder);
    }
    for (const folder of folders) {
      if (this.#folders.get(folder) !== undefined || this.#folders.size >= MAX_FOLDERS) continue;
      this.#folders.set(folder, this.#watchFolder(folder));
    }
  }

  /** Undefined if it cannot be watched: it is missing, or there are no inotify instances. */
  #watchFolder(folder: string): FSWatcher | undefined {
    const forget = (): void => {
      this.#folders.get(folder)?.close();
      this.#folders.set(folder, undefined);
    };
    try {
      const watchFolder = this.#options.watchFolder ?? watch;
      const watcher = watchFolder(folder, { persistent: false }, () => this.#lookSoon());
      return watcher.on('error', forget);
    } catch {
      return undefined;
    }
  }

  #lookSoon(): void {
    if (!this.#isClosed) this.#soon ??= setTimeout(() => void this.#look(), SETTLE).unref();
  }

  /** Never rejects. */
  async #look(): Promise<void> {
    clearTimeout(this.#soon);
    this.#soon = undefined;
    if (this.#isLooking) return this.#lookSoon();
    this.#isLooking = true;
    const paths = this.#paths;
    const found = await print(paths);
    this.#isLooking = false;
    if (this.#isClosed) return;
    if (paths !== this.#paths) return this.#lookSoon();
    if (found === this.#known) {
      this.#seen = undefined;
    } else if (found === this.#seen) {
      this.#known = found;
      this.#seen = undefined;
      this.#options.onChange();
    } else {
      this.#seen = found;
      this.#lookSoon();
    }
  }

  [Symbol.dispose](): void {
    this.#isClosed = true;
    clearInterval(this.#looks);
    clearTimeout(this.#soon);
    for (const watcher of this.#folders.values()) watcher?.close();
    this.#folders.clear();
  }
}

/** Equal as long as the files are the same. One after the other: there may be a hundred. */
async function print(paths: readonly string[]): Promise<string> {
  const found: string[] = [];
  for (const path of paths) {
    try {
      const stats = await stat(path, { bigint: true });
      const isKept = stats.isFile() || stats.isDirectory(); // a pipe changes as it is read
      found.push(isKept ? `${stats.ino} ${stats.size} ${stats.mtimeNs} ${stats.ctimeNs}` : 'other');
    } catch {
      found.push('none');
    }
  }
  return found.join('\n');
}
