/** The part of the process that a command may use; tests hand in their own. */
import { constants } from 'node:os';
import type { Hangups } from './hangups.ts';

export interface Output {
  write(text: string): unknown;
  readonly isTTY?: boolean | undefined;
}

export interface CliContext {
  readonly version: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdout: Output & NodeJS.WritableStream;
  readonly stderr: Output & NodeJS.WritableStream;
  /** Of `weir node` alone. */
  readonly hangups?: Pick<Hangups, 'listen'> | undefined;
}

const SIGNALS: readonly NodeJS.Signals[] = ['SIGINT', 'SIGTERM'];

/** The reason with which a signal ends a command. */
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

/** Whether to use colours (https://no-color.org). */
export function wantsColor(context: CliContext): boolean {
  return (context.env['NO_COLOR'] ?? '') === '' && context.env['TERM'] !== 'dumb';
}

/**
 * Runs `work` with an abort signal. SIGINT and SIGTERM abort it with a {@link SignalError}. The second one ends the
 * process at once, for people who do not want to wait.
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
    // The abort may cause other errors on the way out: the signal is the cause to report.
    if (controller.signal.aborted) controller.signal.throwIfAborted();
    throw error;
  } finally {
    for (const signal of signals) process.off(signal, onSignal);
  }
}
