/** What a command is given of the process around it; tests give it their own. */
import { constants } from 'node:os';

export interface Output {
  write(text: string): unknown;
  readonly isTTY?: boolean | undefined;
}

export interface CliContext {
  readonly version: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdout: Output & NodeJS.WritableStream;
  readonly stderr: Output & NodeJS.WritableStream;
}

const SIGNALS: readonly NodeJS.Signals[] = ['SIGINT', 'SIGTERM'];

/** Thrown into a command by a signal that ends it. */
export class SignalError extends Error {
  readonly signal: NodeJS.Signals;

  constructor(signal: NodeJS.Signals) {
    super(`ended by ${signal}`);
    this.name = 'SignalError';
    this.signal = signal;
  }

  get exitCode(): number {
    return signalExitCode(this.signal);
  }
}

function signalExitCode(signal: NodeJS.Signals): number {
  return 128 + constants.signals[signal];
}

/** Whether colours are wanted (https://no-color.org). */
export function wantsColor(context: CliContext): boolean {
  return (context.env['NO_COLOR'] ?? '') === '' && context.env['TERM'] !== 'dumb';
}

/**
 * Runs `work` with a signal that SIGINT and SIGTERM abort, its reason a {@link SignalError}; the second signal
 * ends the process at once, for people who do not want to wait for the first.
 * @param more signals that do the same
 */
export async function withSignals<T>(
  work: (signal: AbortSignal) => Promise<T>,
  more: readonly NodeJS.Signals[] = [],
): Promise<T> {
  const signals = [...SIGNALS, ...more];
  const controller = new AbortController();
  const onSignal = (signal: NodeJS.Signals): void => {
    if (controller.signal.aborted) process.exit(signalExitCode(signal));
    controller.abort(new SignalError(signal));
  };
  for (const signal of signals) process.on(signal, onSignal);
  try {
    return await work(controller.signal);
  } catch (error) {
    // Whatever the abort broke on its way out, the signal is why.
    if (controller.signal.aborted) controller.signal.throwIfAborted();
    throw error;
  } finally {
    for (const signal of signals) process.off(signal, onSignal);
  }
}
