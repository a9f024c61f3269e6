/** What is fuzzed: something of `src/` that reads bytes which a stranger chose. */
import type * as fc from 'fast-check';
import { isWeirError, type ErrorCode } from '../../../src/util/errors.ts';
import type { Chance } from './chance.ts';

/** @throws what is then a finding: anything but the refusals that it let pass itself */
export type Run = (input: Buffer, chance: Chance) => void | Promise<void>;

export interface Target {
  readonly name: string;
  /** Inputs of 1,000 that go to it: fewer where one takes long. */
  readonly share: number;
  /** Real inputs, from which mutation begins; those in `corpus/` come besides. */
  readonly seeds: readonly (string | Uint8Array)[];
  /** Words that the reader knows, for mutation to put in. */
  readonly words?: readonly string[];
  /** Makes further right inputs. */
  readonly structured?: fc.Arbitrary<Uint8Array>;
  /** Milliseconds that one input may take; default {@link DEFAULT_LIMIT}. */
  readonly limit?: number;
  /** Whether the same input does the same again: else neither time nor coverage of one input can be told. */
  readonly isPure: boolean;
  /** What it needs is given to the stack. */
  readonly open: (stack: AsyncDisposableStack) => Run | Promise<Run>;
}

/** Milliseconds of CPU for an input of at most 64 KiB: what is slower by then is quadratic. */
export const DEFAULT_LIMIT = 200;

type PureTarget = Pick<Target, 'name' | 'seeds'> & Partial<Target> & { readonly run: Run };

/** A target without a state. */
export function pure({ run, ...rest }: PureTarget): Target {
  return { share: 30, isPure: true, open: () => run, ...rest };
}

/** What `work` gives; undefined where it refuses the input as it says that it may. */
export function unlessRefused<T>(codes: readonly ErrorCode[], work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    if (isWeirError(error, ...codes)) return undefined;
    throw error;
  }
}

/** The same of a promise. */
export async function settledUnlessRefused<T>(
  codes: readonly ErrorCode[],
  work: () => Promise<T>,
): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    if (isWeirError(error, ...codes)) return undefined;
    throw error;
  }
}

/** The first line of an input, and what follows: for readers of more than one value. */
export function splitLine(input: Buffer): readonly [first: string, rest: Buffer] {
  const end = input.indexOf('\n');
  if (end === -1) return [input.toString('latin1'), Buffer.alloc(0)];
  return [input.toString('latin1', 0, end), input.subarray(end + 1)];
}
