/**
 * The files of the machine, below its root folder or below the mount of that folder in a container (`/host`).
 *
 * A path is always the machine's own (`/etc/docker/daemon.json`). Symbolic links are followed as the machine would
 * follow them: an absolute link inside of `/host` stays inside of it. The file behind a link is written; the link is
 * never replaced.
 */
import {
  access,
  chmod,
  constants,
  lstat,
  mkdir,
  open,
  readdir,
  readlink,
  rename,
  rm,
  rmdir,
  stat,
} from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { systemCode, WeirError } from '../util/errors.ts';

/** Links in one path, as in the kernel (ELOOP). */
const MAX_LINKS = 40;
/** Bytes of a file: no configuration file of a runtime is larger. */
const MAX_FILE_BYTES = 4 * 1024 * 1024;
/** A file that is a link to it is masked: its owner does not want it to be read. */
const MASK = '/dev/null';
/** Suffix of a file that is being written. */
export const UNFINISHED = '.weir-new';
const NEW_FILE_MODE = 0o644;
const NEW_FOLDER_MODE = 0o755;
const PERMISSIONS = 0o7777;

export interface WriteOptions {
  /** Mode of a new file; an existing file keeps its mode and its owner. */
  readonly mode?: number;
  /** Milliseconds since the epoch; default: now. */
  readonly mtime?: number | undefined;
}

/** Error codes of `rmdir` for a folder that must stay. */
const IN_USE: ReadonlySet<string> = new Set(['ENOTEMPTY', 'EEXIST', 'ENOTDIR', 'EBUSY', 'EROFS']);

export class HostFiles {
  readonly root: string;

  constructor(root: string) {
    this.root = root;
  }

  /** The real path behind all links; a part that does not exist stays as it is written. */
  async locate(path: string): Promise<string> {
    const waiting = partsOf(path);
    let found: string[] = [];
    for (let links = 0, part = waiting.shift(); part !== undefined; part = waiting.shift()) {
      if (part === '..') {
        found.pop();
        continue;
      }
      const target = await linkTarget(join(this.root, ...found, part));
      if (target === undefined) {
        found.push(part);
        continue;
      }
      if (++links > MAX_LINKS) throw problem(path, 'has too many symbolic links');
      if (target.startsWith('/')) found = [];
      waiting.unshift(...partsOf(target));
    }
    return join(this.root, ...found);
  }

  /** The text of a file; undefined if there is none. */
  async read(path: string): Promise<string | undefined> {
    const bytes = await this.#readBytes(path);
    if (bytes === undefined) return undefined;
    try {
      return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch (cause) {
      throw problem(path, 'is not UTF-8 text', cause);
    }
  }

  async #readBytes(path: string): Promise<Uint8Array | undefined> {
    const file = await this.locate(path);
    try {
      // Nobody may write into a FIFO.
      await using handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK);
      const { size } = await handle.stat();
      if (size > MAX_FILE_BYTES) throw problem(path, `is larger than ${MAX_FILE_BYTES} bytes`);
      return await handle.readFile();
    } catch (cause) {
      if (isAbsent(cause)) return undefined;
      throw toProblem(path, 'cannot be read', cause);
    }
  }

  async exists(path: string): Promise<boolean> {
    try {
      await stat(await this.locate(path));
      return true;
    } catch (cause) {
      if (isAbsent(cause)) return false;
      throw toProblem(path, 'cannot be accessed', cause);
    }
  }

  /** What is at a path, behind all links; a device is neither file nor folder. */
  async kindOf(path: string): Promise<'file' | 'folder' | 'none' | 'other'> {
    try {
      const file = await this.locate(path);
      if (file === join(this.root, MASK)) return 'other';
      const found = await stat(file);
      return found.isFile() ? 'file' : found.isDirectory() ? 'folder' : 'other';
    } catch (cause) {
      if (isAbsent(cause)) return 'none';
      throw toProblem(path, 'cannot be accessed', cause);
    }
  }

  /** The text of a link itself; undefined if there is none or it may not be read. */
  async linkAt(path: string): Promise<string | undefined> {
    return readlink(join(this.root, path)).catch(() => undefined);
  }

  /** Names in a folder, sorted; none if there is no such folder. */
  async list(folder: string): Promise<readonly string[]> {
    try {
      return (await readdir(await this.locate(folder))).toSorted();
    } catch (cause) {
      if (isAbsent(cause)) return [];
      throw toProblem(folder, 'cannot be listed', cause);
    }
  }

  /** The missing folders above `path`, the topmost first. */
  async missingFolders(path: string): Promise<readonly string[]> {
    const missing: string[] = [];
    for (let folder = dirname(path); folder !== '/'; folder = dirname(folder)) {
      if (await this.exists(folder)) break;
      missing.unshift(folder);
    }
    return missing;
  }

  /**
   * Replaces the text of a file. A reader sees the old text or the new one, also after a power cut: a file beside it is
   * written and flushed, then renamed.
   */
  async write(path: string, text: string, options: WriteOptions = {}): Promise<void> {
    const file = await this.locate(path);
    const folder = dirname(file);
    const temporary = temporaryOf(file);
    try {
      await makeFolder(folder);
      const before = await stat(file).catch(() => undefined);
      await rm(temporary, { force: true }); // left by an interrupted run
      try {
        await using handle = await open(temporary, 'wx', 0o600);
        await handle.writeFile(text);
        if (before !== undefined) await handle.chown(before.uid, before.gid);
        await handle.chmod(
          before === undefined ? (options.mode ?? NEW_FILE_MODE) : before.mode & PERMISSIONS,
        );
        if (options.mtime !== undefined) await handle.utimes(options.mtime / 1000, options.mtime / 1000);
        await handle.sync();
      } catch (error) {
        await rm(temporary, { force: true });
        throw error;
      }
      await rename(temporary, file);
      await syncFolder(folder);
    } catch (cause) {
      throw toProblem(path, 'cannot be written', cause);
    }
  }

  /** Milliseconds since the epoch; undefined if there is no file. */
  async mtimeOf(path: string): Promise<number | undefined> {
    try {
      return (await stat(await this.locate(path))).mtimeMs;
    } catch (cause) {
      if (isAbsent(cause)) return undefined;
      throw toProblem(path, 'cannot be accessed', cause);
    }
  }

  /** @throws WeirError `runtime_config` if a file could not be written or removed; nothing is changed */
  async checkWritable(path: string): Promise<void> {
    const file = await this.locate(path);
    try {
      if ((await this.kindOf(path)) === 'file') await (await open(file, 'r+')).close(); // fails if it is immutable
      let folder = dirname(file);
      while (!(await isThere(folder)) && folder !== dirname(folder)) folder = dirname(folder);
      if (!(await stat(folder)).isDirectory())
        throw problem(path, `cannot be written: ${folder} is no folder`);
      await access(folder, constants.W_OK);
    } catch (cause) {
      throw toProblem(path, 'cannot be written', cause);
    }
  }

  /** Makes a folder that only its owner may enter. An existing one keeps its mode, and must be writable. */
  async makePrivateFolder(path: string): Promise<void> {
    const folder = await this.locate(path);
    try {
      const isNew = !(await this.exists(path));
      await makeFolder(folder);
      if (isNew) await chmod(folder, 0o700);
      await access(folder, constants.W_OK);
    } catch (cause) {
      throw toProblem(path, 'cannot be written', cause);
    }
  }

  /** Removes the file that an interrupted write has left beside a file. */
  async tidy(path: string): Promise<void> {
    try {
      await rm(temporaryOf(await this.locate(path)), { force: true });
    } catch (cause) {
      if (!isAbsent(cause)) throw toProblem(path, 'cannot be tidied up', cause);
    }
  }

  async remove(path: string): Promise<void> {
    const file = await this.locate(path);
    try {
      await rm(file, { force: true });
      await syncFolder(dirname(file));
    } catch (cause) {
      if (!isAbsent(cause)) throw toProblem(path, 'cannot be removed', cause);
    }
  }

  /** Removes the empty ones of the folders, the deepest first. */
  async removeEmpty(folders: readonly string[]): Promise<void> {
    for (const folder of folders.toSorted((a, b) => b.length - a.length)) {
      try {
        await rmdir(await this.locate(folder));
      } catch (cause) {
        const code = systemCode(cause);
        // EBUSY, EROFS: the chart's pods mount the folder itself, below a root that is read-only.
        const isInUse = IN_USE.has(code ?? '');
        if (!isInUse && !isAbsent(cause)) throw toProblem(folder, 'cannot be removed', cause);
      }
    }
  }
}

/** A failure that names the file, so that an operator can mend it. */
export function problem(path: string, what: string, cause?: unknown): WeirError {
  return new WeirError('runtime_config', `${path} ${what}`, { cause });
}

function toProblem(path: string, what: string, cause: unknown): WeirError {
  if (cause instanceof WeirError) return cause;
  const code = systemCode(cause);
  const isDenied = code === 'EACCES' || code === 'EPERM';
  const cure = process.getuid?.() === 0 ? 'is it immutable (lsattr)?' : 'run this as root';
  return problem(path, `${what} (${code ?? String(cause)})${isDenied ? `: ${cure}` : ''}`, cause);
}

/** No runtime reads this file: its name begins with a dot and has another suffix. */
function temporaryOf(file: string): string {
  return join(dirname(file), `.${basename(file)}${UNFINISHED}`);
}

function isAbsent(cause: unknown): boolean {
  const code = systemCode(cause);
  return code === 'ENOENT' || code === 'ENOTDIR';
}

/** False only if it could be made. */
async function isThere(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (cause) {
    if (systemCode(cause) === 'ENOENT') return false;
    throw cause;
  }
}

function partsOf(path: string): string[] {
  return path.split('/').filter((part) => part !== '' && part !== '.');
}

async function linkTarget(path: string): Promise<string | undefined> {
  try {
    return (await lstat(path)).isSymbolicLink() ? await readlink(path) : undefined;
  } catch (cause) {
    if (isAbsent(cause)) return undefined;
    throw toProblem(path, 'cannot be accessed', cause);
  }
}

/** Makes a folder and those above it. Not `recursive`, which reports ENOENT for a read-only file system. */
async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { mode: NEW_FOLDER_MODE });
  } catch (cause) {
    const code = systemCode(cause);
    if (code === 'EEXIST') return;
    if (code !== 'ENOENT' || folder === dirname(folder)) throw cause;
    await makeFolder(dirname(folder));
    await mkdir(folder, { mode: NEW_FOLDER_MODE });
  }
}

async function syncFolder(folder: string): Promise<void> {
  await using handle = await open(folder);
  await handle.sync();
}
