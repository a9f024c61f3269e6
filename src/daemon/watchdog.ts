/**
 * A second, very small process that kills this one if it hangs (watchdog-process.ts), but not if it only waits for a core.
 *
 * The kernel accepts connections even for a process that is stopped or whose event loop is stuck. A runtime connects,
 * sends its request and waits; containerd 1.6 waits for ever. Only the end of the process closes the port. Then waiting
 * requests are reset, new ones are refused, and the runtime goes to the registry (docs/adr/0014).
 */
import { spawn } from 'node:child_process';
import { errorMessage } from '../util/errors.ts';
import { watchParent } from './watchdog-process.ts';

/** Signs of life within the hang timeout: a few may come late on a loaded machine. */
const SIGNS_IN_TIMEOUT = 10;
/** A process that waits for a core may be silent so many times longer. */
const STARVED_TIMES = 6;
/** The watchdog holds no data: a heap of a few MiB is enough. */
const NODE_FLAGS = ['--jitless', '--max-semi-space-size=1', '--max-old-space-size=16', '--no-warnings'];
/** PID of the first process of a container: the kernel lets no process inside of the container kill it. */
const INIT = 1;

export interface WatchdogOptions {
  /** Milliseconds without a sign of life after which this process is ended; 0: no watchdog. */
  readonly hangTimeout: number;
  readonly warn: (message: string) => void;
}

/** Watches this process until it is disposed of, or until the process ends. */
export function startWatchdog({ hangTimeout, warn }: WatchdogOptions): Disposable {
  if (hangTimeout === 0) return { [Symbol.dispose]: () => undefined };
  if (process.pid === INIT) {
    warn(
      'the watchdog cannot end process 1: give the container an init (docker run --init, shareProcessNamespace); ' +
        'otherwise a hung mirror holds up pulls until something outside of the container ends it',
    );
    return { [Symbol.dispose]: () => undefined };
  }
  const interval = hangTimeout / SIGNS_IN_TIMEOUT;
  const child = spawn(
    process.execPath,
    [
      ...NODE_FLAGS,
      '--eval',
      `(${watchParent.toString()})(${process.pid}, ${interval}, ${SIGNS_IN_TIMEOUT}, ${STARVED_TIMES * SIGNS_IN_TIMEOUT})`,
    ],
    // A session of its own: Ctrl-Z in a terminal stops the node and must not stop its watchdog.
    { stdio: ['pipe', 'ignore', 'inherit'], detached: true, env: {} },
  );
  child.unref();
  const signs = setInterval(() => child.stdin.write('.'), interval).unref();
  const end = (): void => {
    clearInterval(signs);
    child.stdin.destroy();
  };
  child.once('error', (error) => {
    end();
    warn(`the watchdog cannot be started: ${errorMessage(error)}`);
  });
  child.once('exit', end);
  child.stdin.on('error', end); // the watchdog has ended
  return { [Symbol.dispose]: end };
}
