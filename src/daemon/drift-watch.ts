/**
 * Says that a runtime's file has lost what `weir host configure` wrote into it: an update of the runtime, or a program that
 * manages the machine, has written it anew, and that runtime pulls past Weir. A node that may not read the records says
 * nothing: they hold the files' old texts, and are root's alone.
 */
import { repeat } from '../util/async.ts';
import { HOUR, MINUTE, type Clock } from '../util/clock.ts';
import { compareHost, type HostComparison } from '../host/drift.ts';
import { HostFiles } from '../host/host-files.ts';
import { STATE_FOLDER } from '../host/original-files.ts';

/** Milliseconds: a node that starts has other things to do, and `weir host configure` may run beside it. */
const FIRST_LOOK = MINUTE;
const LOOK = HOUR;
/** Files that one line names. */
const MAX_NAMED = 8;

export interface DriftWatchOptions {
  readonly clock: Clock;
  readonly logger: {
    info(detail: object, message: string): void;
    warn(detail: object, message: string): void;
    debug(detail: object, message: string): void;
  };
  /** The machine's root folder. */
  readonly root: string;
  /** Is told the result of each comparison. */
  readonly onCompared: (comparison: HostComparison | undefined) => void;
}

/** Compares a minute after the start and then each hour, until it is disposed of. */
export function watchDrift({ clock, logger, root, onCompared }: DriftWatchOptions): Disposable {
  const stop = new AbortController();
  const files = new HostFiles(root);
  let named: ReadonlySet<string> = new Set();
  const look = async (): Promise<void> => {
    const comparison = await compareHost(files, STATE_FOLDER);
    onCompared(comparison);
    const drifted = comparison?.drifted ?? [];
    const paths = drifted.map(({ path }) => path);
    const isNew = paths.some((path) => !named.has(path));
    if (isNew) {
      const list = paths.slice(0, MAX_NAMED).join(', ') + (paths.length > MAX_NAMED ? ', …' : '');
      const runtimes = [...new Set(drifted.map(({ runtime }) => runtime))].join(', ');
      logger.warn(
        { files: paths.slice(0, MAX_NAMED), runtimes },
        `what "weir host configure" wrote is gone from ${list}: pulls of ${runtimes} go past Weir; ` +
          'run "weir host configure" again (in Kubernetes: delete the pod of this node)',
      );
    } else if (named.size > 0 && paths.length === 0 && comparison !== undefined) {
      logger.info({}, 'the files of the runtimes are again as "weir host configure" wrote them');
    }
    named = new Set(paths);
  };
  void repeat(clock, stop.signal, {
    interval: (turn) => (turn === 0 ? FIRST_LOOK : LOOK),
    work: look,
    onError: (error) => logger.debug({ err: error }, 'the files of the runtimes cannot be compared'),
  });
  return { [Symbol.dispose]: () => stop.abort() };
}
