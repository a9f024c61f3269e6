/** Parses the options of `bench simulate`: text of the command line to numbers. Pure. */
import { InvalidArgumentError } from 'commander';
import { parseDuration, parseSize } from '../../src/config/units.ts';
import { PARAMETERS, type Parameters } from '../../src/swarm/parameters.ts';
import type { Start } from '../../test/simulator/simulate.ts';

/** Bits in a second, by the unit of tc(8). */
const RATES: Readonly<Record<string, number>> = { kbit: 1e3, mbit: 1e6, gbit: 1e9 };
const BITS_OF_A_BYTE = 8;
const MILLISECONDS = 1000;

export const LEAST_NODES = 1;
export const MOST_NODES = 5000;
const LEAST_CORES = 0.01;
const MOST_CORES = 256;

/** `20mbit`, as tc(8) writes it. @returns bytes per millisecond */
export function parseRate(text: string): number {
  const [, number = '', unit = ''] = /^(\d+(?:\.\d+)?)([kmg]bit)$/.exec(text) ?? [];
  const rate = (Number(number) * (RATES[unit] ?? 0)) / BITS_OF_A_BYTE / MILLISECONDS;
  if (rate > 0) return rate;
  throw new InvalidArgumentError('It is not a rate such as 20mbit or 1gbit.');
}

/** `200MiB,100MiB`. @returns bytes */
export function parseLayers(text: string): readonly number[] {
  return text.split(',').map((each) => {
    const size = read(parseSize, each, 'sizes such as 24MiB,12MiB');
    if (size > 0) return size;
    throw new InvalidArgumentError('A layer has at least one byte.');
  });
}

/** `50` or `10,50,200`. */
export function parseNodes(text: string): readonly number[] {
  return text.split(',').map((each) => {
    const number = Number(each);
    if (Number.isInteger(number) && number >= LEAST_NODES && number <= MOST_NODES) return number;
    throw new InvalidArgumentError(`They are not whole numbers from ${LEAST_NODES} to ${MOST_NODES}.`);
  });
}

/** `5%`. @returns a share, 0 to 1 */
export function parseShare(text: string): number {
  const [, number] = /^(\d+(?:\.\d+)?)%$/.exec(text) ?? [];
  const share = Number(number) / 100;
  if (share >= 0 && share <= 1) return share;
  throw new InvalidArgumentError('It is not a share such as 5%.');
}

/** `2s`. @returns milliseconds */
export function parseTime(text: string): number {
  return read(parseDuration, text, 'a duration such as 2s');
}

/** `simultaneous`, `jitter:2s` or `rolling:20%`. */
export function parseStart(text: string): Start {
  const [kind, value = '', ...rest] = text.split(':');
  if (rest.length === 0) {
    if (kind === 'simultaneous' && value === '') return { kind };
    if (kind === 'jitter') return { kind, ms: parseTime(value) };
    if (kind === 'rolling') return { kind, share: parseShare(value) };
  }
  throw new InvalidArgumentError('It is none of simultaneous, jitter:2s, rolling:20%.');
}

/** `2` or `0.25`. */
export function parseCores(text: string): number {
  const cores = Number(text);
  if (/^\d+(\.\d+)?$/.test(text) && cores >= LEAST_CORES && cores <= MOST_CORES) return cores;
  throw new InvalidArgumentError(`It is not a number of cores from ${LEAST_CORES} to ${MOST_CORES}.`);
}

export function parseWhole(least: number, most: number): (text: string) => number {
  return (text) => {
    const number = Number(text);
    if (Number.isInteger(number) && number >= least && number <= most) return number;
    throw new InvalidArgumentError(`It is not a whole number from ${least} to ${most}.`);
  };
}

/** `requestsMax=4,peersWanted=8`: numbers of the policy by their names (src/swarm/parameters.ts). */
export function parsePolicy(text: string): Partial<Parameters> {
  const given = text.split(',').map((each): [string, number] => {
    const [name = '', value = '', ...rest] = each.split('=');
    const isNumber = Object.entries(PARAMETERS).some(
      ([known, usual]) => known === name && usual === Number(usual),
    );
    if (isNumber && rest.length === 0 && /^\d+(\.\d+)?$/.test(value)) return [name, Number(value)];
    throw new InvalidArgumentError(
      'It is not numbers of src/swarm/parameters.ts such as requestsMax=4,peersWanted=8.',
    );
  });
  return Object.fromEntries(given);
}

function read(parse: (text: string) => number, text: string, what: string): number {
  try {
    return parse(text);
  } catch {
    throw new InvalidArgumentError(`It is not ${what}.`);
  }
}
