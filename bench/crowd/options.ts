/** Settings of `bench crowd`, and how they are read from the command line. Pure. */
import { formatDuration, parseDuration, parseSize } from '../../src/config/units.ts';

export const SYSTEMS = ['registry', 'weir', 'proxy', 'spegel', 'dragonfly', 'kraken'] as const;
export type SystemName = (typeof SYSTEMS)[number];

export const RUNTIMES = ['fetch', 'containerd'] as const;
export type RuntimeName = (typeof RUNTIMES)[number];

/** Log level of the nodes of `weir`. */
export const LOG_LEVELS = ['info', 'debug', 'trace'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];
export const DEFAULT_LOG_LEVEL: LogLevel = 'info';

/** The rate of a link. */
export interface Rate {
  /** As tc writes rates: `20mbit`. */
  readonly text: string;
  readonly bitsPerSecond: number;
}

/** When nodes begin to pull. */
export type Start =
  | { readonly kind: 'simultaneous' }
  /** Each node after a time of its own, evenly spread up to `within` milliseconds. */
  | { readonly kind: 'jitter'; readonly within: number }
  /** A share of the nodes at a time; the next ones begin when all of these have ended, as in a rolling update. */
  | { readonly kind: 'rolling'; readonly share: number };

export interface CrowdSettings {
  readonly nodes: number;
  /** Bytes of each layer. */
  readonly layers: readonly number[];
  readonly link: Rate;
  readonly registry: Rate;
  readonly start: Start;
  readonly zones: number;
  /** Share of all nodes, 0 to 1. */
  readonly kill: number;
  readonly slow: number;
  /** Share of all packets between nodes, 0 to 1. */
  readonly loss: number;
  readonly repeat: number;
  /** Other images of the same size that all nodes pull before; 0: the processes have just started. */
  readonly pulled: number;
  readonly seed: number;
  readonly systems: readonly SystemName[];
  readonly runtime: RuntimeName;
  readonly loopback: boolean;
  readonly logLevel: LogLevel;
  readonly binaries: Binaries;
}

/** Paths of programs that the operator provides: one program, or a folder of them. */
export interface Binaries {
  readonly spegel?: string | undefined;
  readonly dragonfly?: string | undefined;
  readonly kraken?: string | undefined;
}

export const MAX_NODES = 200;

/** Bits per second of tc's units. */
const RATE_UNITS: Readonly<Record<string, number>> = { kbit: 1e3, mbit: 1e6, gbit: 1e9 };

/** @throws Error that names the allowed values */
export function parseRate(text: string): Rate {
  const match = /^(\d+(?:\.\d+)?)(kbit|mbit|gbit)$/.exec(text.trim().toLowerCase());
  const bitsPerSecond = Number(match?.[1]) * (RATE_UNITS[match?.[2] ?? ''] ?? Number.NaN);
  if (match === null || !(bitsPerSecond >= 1e5)) {
    throw new Error('It is no rate of at least 100kbit: write 20mbit, 1gbit or 500kbit.');
  }
  return { text: match[0], bitsPerSecond };
}

/** @throws Error that names the allowed values */
export function parseLayers(text: string): readonly number[] {
  const layers = text.split(',').map((each) => parseSize(each));
  if (layers.some((size) => size < 1)) throw new Error('A layer has at least one byte.');
  return layers;
}

/** @throws Error that names the allowed values */
export function parseShare(text: string): number {
  const match = /^(\d+(?:\.\d+)?)%$/.exec(text.trim());
  const share = Number(match?.[1]) / 100;
  if (match === null || share > 1) throw new Error('It is no share: write 5%, from 0% to 100%.');
  return share;
}

/** @throws Error that names the allowed values */
export function parseStart(text: string): Start {
  if (text === 'simultaneous') return { kind: 'simultaneous' };
  const [kind = '', value = ''] = text.split(':', 2);
  if (kind === 'jitter') return { kind, within: parseDuration(value) };
  if (kind === 'rolling') {
    const share = parseShare(value);
    if (share === 0) throw new Error('No node would ever begin: write rolling:20%.');
    return { kind, share };
  }
  throw new Error('It is none of simultaneous, jitter:2s, rolling:20%.');
}

export function formatStart(start: Start): string {
  if (start.kind === 'jitter') return `jitter:${formatDuration(start.within)}`;
  return start.kind === 'rolling' ? `rolling:${start.share * 100}%` : start.kind;
}

/** @throws Error that names the allowed values */
export function parseSystems(text: string): readonly SystemName[] {
  const names = text.split(',').map((each) => parseSystem(each.trim()));
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw new Error(`"${twice}" is named twice.`);
  return names;
}

/** @throws Error that names the allowed values */
export function parseSystem(text: string): SystemName {
  const known = SYSTEMS.find((system) => system === text);
  if (known === undefined) throw new Error(`"${text}" is none of ${SYSTEMS.join(', ')}.`);
  return known;
}

/** @throws Error that names the allowed values */
export function parseCount(text: string, least: number, most: number): number {
  const number = Number(text);
  if (/^\d+$/.test(text) && number >= least && number <= most) return number;
  throw new Error(`It is not a whole number from ${least} to ${most}.`);
}

/** A contradiction between options that are valid by themselves, for people; undefined if there is none. */
export function contradiction(settings: CrowdSettings): string | undefined {
  const { nodes, zones, kill, slow, loss, loopback } = settings;
  if (zones > nodes) return `--zones ${zones} are more than --nodes ${nodes}`;
  if (Math.round(nodes * kill) + Math.round(nodes * slow) >= nodes) {
    return '--kill and --slow leave no node whose time could be measured';
  }
  if (loopback && (slow > 0 || loss > 0)) {
    return '--slow and --loss need shaped links, which --loopback does not have';
  }
  return undefined;
}
