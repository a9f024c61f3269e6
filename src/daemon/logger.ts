/**
 * The log: pino, to stderr. For people in a terminal, JSON lines otherwise.
 *
 * A credential never gets there: the keys that usually hold one are blanked wherever they stand up to three
 * levels deep, and errors are written field by field, not as whatever objects they drag along.
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
  /** Whether a terminal wants colours (https://no-color.org); default: it does. */
  readonly color?: boolean | undefined;
  /** Default: stderr. */
  readonly destination?: DestinationStream | undefined;
}

/** Bytes of log kept while whoever reads stderr does not; what comes on top is dropped, not held in memory. */
const MAX_BACKLOG = MIB;

const STDERR = 2;

/** Causes of causes that are written; a cycle ends here. */
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

/** `x`, `*.x` and `*.*.x` for each secret key, in lower case and as HTTP headers are often capitalised. */
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
    base: null, // the pod's name and the container's pid come from whoever collects the log
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
 * An error as the log shows it: what happened, why, whose fault it is. A stack only where something happened
 * that nobody expected: stacks of refused connections hide what matters.
 */
export function serializeError(error: unknown): unknown {
  // libp2p rejects with events now and then; pino walks through all that an object has, and their getters throw.
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

/** The messages of what caused `error`, the nearest first. */
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

/** An `internal` error that only wraps another has nothing to say: the stack of the first cause does. */
function stackOf(error: Error): string | undefined {
  let first = error;
  for (let depth = 0; depth < MAX_CAUSES && first.cause instanceof Error; depth += 1) first = first.cause;
  return first.stack;
}
