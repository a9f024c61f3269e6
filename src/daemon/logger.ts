/**
 * The log: pino, to stderr. It is for people in a terminal, and JSON lines otherwise.
 *
 * No credential gets into it. Keys that usually hold one are blanked up to three levels deep. Errors are written field by
 * field, without the objects that they refer to.
 */
import pino, { type DestinationStream, type LoggerOptions } from 'pino';
import { MIB } from '../util/clock.ts';
import type { Config } from '../config/settings.ts';
import { errorMessage, isWeirError, systemCode } from '../util/errors.ts';

export type Logger = pino.Logger;

export interface CreateLoggerOptions {
  readonly level: Config['log.level'];
  readonly format: Config['log.format'];
  readonly isTerminal: boolean;
  /** Whether to use colours in a terminal (https://no-color.org); default: yes. */
  readonly color?: boolean | undefined;
  /** Default: stderr. */
  readonly destination?: DestinationStream | undefined;
}

/** Bytes of log kept while the reader of stderr does not read; further lines are dropped, not held in memory. */
const MAX_BACKLOG = MIB;

const STDERR = 2;

/** Length of a written chain of causes; a cycle ends here. */
const MAX_CAUSES = 8;

const SECRET_KEYS: readonly string[] = [
  'authorization',
  'proxy-authorization',
  'cookie',
  'set-cookie',
  'password',
  'token',
  'access_token',
  'refresh_token',
  'identitytoken',
  'credential',
];

/** `x`, `*.x` and `*.*.x` for each secret key, in lower case and capitalised as HTTP headers often are. */
const REDACTED_PATHS: readonly string[] = [
  ...SECRET_KEYS,
  'Authorization',
  'Proxy-Authorization',
  'Cookie',
  'Set-Cookie',
].flatMap((key) => [`["${key}"]`, `*["${key}"]`, `*.*["${key}"]`]);

export async function createLogger(options: CreateLoggerOptions): Promise<Logger> {
  const settings: LoggerOptions = {
    level: options.level,
    base: null, // the collector of the log adds the pod's name and the container's pid
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    serializers: { err: serializeError, error: serializeError },
    redact: { paths: [...REDACTED_PATHS], censor: '***' },
  };
  const pretty = options.format === 'pretty' || (options.format === 'auto' && options.isTerminal);
  if (!pretty) {
    // Not synchronous: a stopped reader of stderr would stop the whole node with it.
    const stderr = (): DestinationStream =>
      pino.destination({ dest: STDERR, sync: false, maxLength: MAX_BACKLOG });
    return pino(settings, options.destination ?? stderr());
  }
  const { default: prettify } = await import('pino-pretty');
  const stream = prettify({
    colorize: options.isTerminal && options.color !== false,
    translateTime: 'SYS:HH:MM:ss.l',
    destination: options.destination ?? STDERR,
    singleLine: true,
    sync: true,
  });
  return pino(settings, stream);
}

/**
 * An error as the log shows it: what happened, why, whose fault it is. Only an unexpected error has a stack: stacks of
 * refused connections would hide what matters.
 */
export function serializeError(error: unknown): unknown {
  // libp2p sometimes rejects with an event. pino would walk through all its fields, and their getters throw.
  if (!(error instanceof Error)) return { message: String(error), type: typeof error };
  const known = isWeirError(error);
  const code = known ? error.code : systemCode(error);
  const causes = causesOf(error);
  return {
    message: error.message,
    ...(code === undefined ? {} : { code }),
    ...(known ? { fault: error.fault } : { type: error.name }),
    ...(known && Object.keys(error.detail).length > 0 ? { detail: error.detail } : {}),
    ...(causes.length > 0 ? { causes } : {}),
    ...(known && error.code !== 'internal' ? {} : { stack: stackOf(error) }),
  };
}

/** The messages of the causes of `error`, the nearest first. */
function causesOf(error: Error): readonly string[] {
  const causes: string[] = [];
  for (let cause = error.cause; cause !== undefined && causes.length < MAX_CAUSES;) {
    const code = systemCode(cause);
    const message = errorMessage(cause);
    causes.push(code === undefined || message.includes(code) ? message : `${code}: ${message}`);
    cause = cause instanceof Error ? cause.cause : undefined;
  }
  return causes;
}

/** The stack of the first cause: an `internal` error that only wraps another has no stack of interest. */
function stackOf(error: Error): string | undefined {
  let first = error;
  for (let depth = 0; depth < MAX_CAUSES && first.cause instanceof Error; depth += 1) first = first.cause;
  return first.stack;
}
