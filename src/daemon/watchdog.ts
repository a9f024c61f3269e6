/**
 * A second, very small process that ends this one when it hangs (watchdog-process.ts), and not when it merely has to wait
 * for a core.
 *
 * The kernel goes on accepting connections for a process that is stopped or whose event loop is stuck: a runtime
 * connects, sends its request and waits, containerd 1.6 for good. Only the end of the process closes the port; then
 * waiting requests are reset and new ones refused, and the runtime goes to the registry (docs/adr/0014).
 */
import { spawn } from 'node:child_process';
import { errorMessage } from '../util/errors.ts';
import { watchParent } from './watchdog-process.ts';

/** Signs of life in the time that counts as hung: a few may come late on a loaded machine. */
const BEATS_IN_TIMEOUT = 10;
/** So many times longer a process may be silent that has to wait for a core. */
const STARVED_TIMES = 6;
/** It holds nothing, so that a heap of a few MiB is enough. */
const NODE_FLAGS = ['--jitless', '--max-semi-space-size=1', '--max-old-space-size=16', '--no-warnings'];
/** PID of the first process of a container: the kernel lets nobody inside of it end that one. */
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
      'the watchdog cannot end process 1: give the container an init (docker run --init, shareProcessNamespace), ' +
        'or a mirror that hangs will hold up pulls until something outside ends it',
    );
    return { [Symbol.dispose]: () => undefined };
  }
  const interval = hangTimeout / BEATS_IN_TIMEOUT;
  const child = spawn(
    process.execPath,
    [
      ...NODE_FLAGS,
      '--eval',
      `(${watchParent.toString()})(${process.pid}, ${interval}, ${BEATS_IN_TIMEOUT}, ${STARVED_TIMES * BEATS_IN_TIMEOUT})`,
    ],
    // A session of its own: Ctrl-Z in a terminal stops the node and must not stop its watchdog.
    { stdio: ['pipe', 'ignore', 'inherit'], detached: true, env: {} },
  );
  child.unref();
  const beat = setInterval(() => child.stdin.write('.'), interval).unref();
  const end = (): void => {
    clearInterval(beat);
    child.stdin.destroy();
  };
  child.once('error', (error) => {
    end();
    warn(`the watchdog cannot be started: ${errorMessage(error)}`);
  });
  child.once('exit', end);
  child.stdin.on('error', end); // it has ended; its exit is seen too
  return { [Symbol.dispose]: end };
}
