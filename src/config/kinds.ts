/**
 * The kinds of values of settings. Each kind has a valibot schema that reads a flag, a variable or YAML, a text about
 * allowed values for errors, `--help` and the docs, and a function that writes the value back.
 */
import { isIPv4, isIPv6 } from 'node:net';
import { resolve } from 'node:path';
import * as v from 'valibot';
import { HOUR } from '../util/clock.ts';
import { errorMessage } from '../util/errors.ts';
import { tryParseRegistryHost, type RegistryHost } from '../oci/repository.ts';
import { formatDuration, formatSize, parseDuration, parseSize } from './units.ts';

export type Schema<T> = v.GenericSchema<unknown, T>;

export interface Kind<T> {
  readonly schema: Schema<T>;
  /** Text about allowed values, to follow "allowed:". */
  readonly allowed: string;
  /** Stands for the value in `--help`. */
  readonly placeholder: string;
  /** Writes the value as an operator would; a list stays a list. */
  readonly format: (value: T) => string | readonly string[];
  /** All values, if they are few: for shell completion. */
  readonly choices?: readonly string[];
  /** Whether a flag may be given several times; each one adds to the list. */
  readonly list?: boolean;
}

export interface ListenAddress {
  /** An IP address without brackets, or `localhost`. */
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
}

/** Timers of Node.js hold 2^31 - 1 ms (24.8 days) and fire at once above it. */
const MAX_DURATION = 24 * 24 * HOUR;

/** Characters of a path; Linux' PATH_MAX. */
const MAX_PATH_LENGTH = 4096;

const MAX_PORT = 65_535;

/** A schema from a parser that throws the problem in words that follow the value: "has no unit". */
function parsed<T>(parse: (text: string) => T): Schema<T> {
  return v.pipe(
    v.union([v.string(), v.pipe(v.number(), v.finite())], 'is no single value'),
    v.rawTransform(({ dataset, addIssue, NEVER }) => {
      try {
        return parse(String(dataset.value));
      } catch (error) {
        addIssue({ message: errorMessage(error) });
        return NEVER;
      }
    }),
  );
}

/** A schema of a list: `a,b`, or a list in YAML. */
function list<T>(item: Schema<T>): Schema<readonly T[]> {
  const split = v.pipe(
    v.string(),
    v.transform((text) => text.split(',').map((part) => part.trim())),
  );
  return v.pipe(
    v.union([split, v.array(v.unknown())], 'is no list'),
    v.array(item),
    v.minLength(1, 'is an empty list'),
  );
}

function between(value: number, min: number, max: number, format: (value: number) => string): number {
  if (value < min) throw new Error(`is less than ${format(min)}`);
  if (value > max) throw new Error(`is more than ${format(max)}`);
  return value;
}

function readPath(text: string): string {
  if (text === '') throw new Error('is no path');
  if (text.length > MAX_PATH_LENGTH || text.includes('\0')) throw new Error('is no usable path');
  return resolve(text);
}

export function duration(options: { readonly min?: number } = {}): Kind<number> {
  const min = options.min ?? 1;
  return {
    schema: parsed((text) => between(parseDuration(text), min, MAX_DURATION, formatDuration)),
    allowed: `a duration of ${formatDuration(min)} to ${formatDuration(MAX_DURATION)}, such as 500ms, 10s, 5m or 24h`,
    placeholder: 'DURATION',
    format: formatDuration,
  };
}

export function integer(options: { readonly min: number; readonly max: number }): Kind<number> {
  const { min, max } = options;
  return {
    schema: parsed((text) => wholeNumber(text, min, max)),
    allowed: `a whole number from ${min} to ${max}`,
    placeholder: 'N',
    format: String,
  };
}

/** `auto`, or a whole number. */
export function autoOrInteger(options: {
  readonly min: number;
  readonly max: number;
}): Kind<number | 'auto'> {
  const { min, max } = options;
  return {
    schema: parsed((text) => (text === 'auto' ? text : wholeNumber(text, min, max))),
    allowed: `auto, or a whole number from ${min} to ${max}`,
    placeholder: 'auto|N',
    format: String,
  };
}

function wholeNumber(text: string, min: number, max: number): number {
  if (!/^-?\d+$/.test(text.trim())) throw new Error('is no whole number');
  return between(Number(text), min, max, String);
}

export function choice<const T extends string>(choices: readonly T[]): Kind<T> {
  return {
    schema: v.picklist(choices, 'is not allowed'),
    allowed: choices.join(', '),
    placeholder: choices.join('|').length > 20 ? 'WORD' : choices.join('|'),
    format: (value) => value,
    choices,
  };
}

/** Whole per cent. */
export function percentage(options: { readonly max: number }): Kind<number> {
  const { max } = options;
  return {
    schema: parsed((text) => {
      // 0.2 and 20 would both be said of a fifth.
      if (!text.trim().endsWith('%')) throw new Error('has no %');
      return wholeNumber(text.trim().slice(0, -1), 0, max);
    }),
    allowed: `a whole number of per cent from 0% to ${max}%`,
    placeholder: 'N%',
    format: (value) => `${value}%`,
  };
}

/** `auto`, or a size in bytes of at least `min`. */
export function autoOrSize(options: { readonly min: number }): Kind<number | 'auto'> {
  const { min } = options;
  return {
    schema: parsed((text) =>
      text === 'auto' ? text : between(parseSize(text), min, Number.MAX_SAFE_INTEGER, formatSize),
    ),
    allowed: `auto, or a size of at least ${formatSize(min)}, such as 512MiB, 20GiB or 100GB`,
    placeholder: 'auto|SIZE',
    format: (value) => (value === 'auto' ? value : formatSize(value)),
  };
}

/** A path; a relative one starts at the working folder. */
export function path(what: 'DIR' | 'FILE'): Kind<string> {
  return {
    schema: parsed(readPath),
    allowed: `the path of a ${what === 'DIR' ? 'folder' : 'file'}`,
    placeholder: what,
    format: (value) => value,
  };
}

/** The path of a file, or the empty string for none. */
export function optionalFile(): Kind<string> {
  return {
    schema: parsed((text) => (text === '' ? text : readPath(text))),
    allowed: 'the path of a file, or empty for none',
    placeholder: 'FILE',
    format: (value) => value,
  };
}

export function autoNoneOrPaths(): Kind<'auto' | 'none' | readonly string[]> {
  const paths = list(parsed(readPath));
  return {
    schema: v.union([v.picklist(['auto', 'none']), paths], 'is neither a word nor a list of paths'),
    allowed: 'auto, none, or paths of folders (a comma between two)',
    placeholder: 'auto|none|DIR,…',
    format: (value) => value,
  };
}

/** Bytes per second, or `none` for no limit. */
export function noneOrRate(options: { readonly min: number }): Kind<number | 'none'> {
  const { min } = options;
  return {
    schema: parsed((text) =>
      text === 'none'
        ? text
        : between(parseSize(text.replace(/\/s$/, '')), min, Number.MAX_SAFE_INTEGER, formatRate),
    ),
    allowed: `none, or bytes per second of at least ${formatRate(min)}, such as 50MiB/s`,
    placeholder: 'none|RATE',
    format: (value) => (value === 'none' ? value : formatRate(value)),
  };
}

function formatRate(value: number): string {
  return `${formatSize(value)}/s`;
}

/** A list of words that `read` accepts; the empty string is the empty list. */
export function texts(options: {
  readonly allowed: string;
  readonly placeholder: string;
  /** @throws Error with the problem in words that follow the value: "has no port" */
  readonly read: (text: string) => string;
}): Kind<readonly string[]> {
  const items = list(parsed((text) => options.read(text.trim())));
  const none: Schema<readonly string[]> = v.pipe(
    v.unknown(),
    v.transform((): readonly string[] => []),
  );
  return {
    schema: v.lazy((input) => (input === '' ? none : items)), // no union, as its message would not name the problem of an item
    allowed: `${options.allowed} (a comma between two), or empty for none`,
    placeholder: options.placeholder,
    format: (values) => (values.length === 0 ? '' : values),
    list: true,
  };
}

/** A short text of plain characters, or empty. */
export function label(options: { readonly max: number }): Kind<string> {
  return {
    schema: parsed((text) => {
      if (text.length > options.max) throw new Error(`has more than ${options.max} characters`);
      if (!/^[\w.\-/]*$/.test(text)) throw new Error('has other characters than letters, digits and ._-/');
      return text;
    }),
    allowed: `at most ${options.max} letters, digits and ._-/, or empty`,
    placeholder: 'NAME',
    format: (value) => value,
  };
}

export function registryHost(): Kind<RegistryHost> {
  return {
    schema: parsed((text) => {
      const host = tryParseRegistryHost(text);
      if (host === undefined) throw new Error('is no registry');
      return host;
    }),
    allowed: 'a registry, such as docker.io, registry.example:5000 or [fd00::1]:5000',
    placeholder: 'HOST',
    format: (value) => value,
  };
}

function readListenAddress(text: string): ListenAddress {
  const match = /^(\[[^\]]*\]|[^:]*):(\d{1,5})$/.exec(text.trim());
  if (match === null) throw new Error('is no address with a port');
  const [, written = '', digits] = match;
  if (written === '' || written === '*') {
    throw new Error(`names every interface; write 0.0.0.0:${digits} or [::]:${digits} if that is wanted`);
  }
  const host = written.startsWith('[') ? written.slice(1, -1) : written;
  const known = written.startsWith('[') ? isIPv6(host) : isIPv4(host) || host === 'localhost';
  if (!known) throw new Error('has no IP address before its port');
  const port = Number(digits);
  if (port > MAX_PORT) throw new Error(`has a port above ${MAX_PORT}`);
  return { host, port };
}

export function formatListenAddress(address: ListenAddress): string {
  const host = isIPv6(address.host) ? `[${address.host}]` : address.host;
  return `${host}:${address.port}`;
}

export function listenAddresses(): Kind<readonly ListenAddress[]> {
  return {
    schema: list(parsed(readListenAddress)),
    allowed: 'IP:PORT, [IPv6]:PORT or localhost:PORT (a comma between two); port 0 takes any free one',
    placeholder: 'ADDRESS,…',
    format: (addresses) => addresses.map(formatListenAddress),
    list: true,
  };
}
