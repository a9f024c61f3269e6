/**
 * Says when the limit of open files is near. Node.js resets connections beyond it without a word, and pulls then go past the
 * mirror, or fail.
 */
import { readdir, readFile } from 'node:fs/promises';
import { MINUTE, SECOND, type Clock } from '../util/clock.ts';

/** Share of the limit from which on it is said. */
const NEAR = 0.9;
/** Milliseconds between two looks. */
const LOOK = 5 * SECOND;
const WARN_AGAIN = 10 * MINUTE;

export interface OpenFilesOptions {
  readonly clock: Clock;
  readonly warn: (message: string) => void;
  /** Open files of this process, and the most that it may have; default: those of Linux. */
  readonly count?: () => Promise<{ readonly open: number; readonly limit: number }>;
}

/** Looks until it is disposed of. */
export function watchOpenFiles(options: OpenFilesOptions): Disposable {
  const { clock, warn, count = countOpenFiles } = options;
  const stop = new AbortController();
  const watch = async (): Promise<void> => {
    let warnedAt = -Infinity;
    for (;;) {
      await clock.sleep(LOOK, { signal: stop.signal });
      const { open, limit } = await count();
      if (open < NEAR * limit || clock.monotonic() - warnedAt < WARN_AGAIN) continue;
      warnedAt = clock.monotonic();
      warn(
        `${open} of ${limit} files are open: beyond that connections are reset; raise the limit ` +
          '(LimitNOFILE of weir.service, --ulimit of a container)',
      );
    }
  };
  watch().catch(() => undefined); // disposed of, or /proc cannot be read: then nobody can tell
  return { [Symbol.dispose]: () => stop.abort() };
}

async function countOpenFiles(): Promise<{ open: number; limit: number }> {
  const limits = await readFile('/proc/self/limits', 'utf8');
  const limit = Number(/^Max open files +([0-9]+)/m.exec(limits)?.[1] ?? Number.POSITIVE_INFINITY);
  return { open: (await readdir('/proc/self/fd')).length, limit };
}
