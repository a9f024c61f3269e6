/** Which chunk to ask for next. Pure: the same state and the same chance give the same choice. */
import type { Bitfield } from '../store/bitfield.ts';
import type { Neighbour, Neighbours } from './neighbours.ts';

export interface Choice {
  readonly index: number;
  readonly neighbour: Neighbour;
}

export interface PickerInput {
  readonly neighbours: Neighbours;
  /** Neither here nor asked for. */
  readonly wanted: Bitfield;
  readonly now: number;
  readonly random: () => number;
  /** How often the first chunk is taken instead of the rarest. */
  readonly inOrder: number;
}

/**
 * The first wanted chunk that a neighbour can give now, or (mostly) the one that the fewest neighbours have: what is
 * rare is what others will want from this node next. Undefined where no neighbour can give anything wanted.
 */
export function pickChunk(input: PickerInput): Choice | undefined {
  const { neighbours, wanted, now, random } = input;
  const free = neighbours.free(now);
  if (free.length === 0) return undefined;
  // The very first chunk first: until it is there, a runtime waits for its first byte, and not for long.
  const index =
    (given(wanted, free, 0) & FIRST_BIT) !== 0
      ? 0
      : random() < input.inOrder
        ? first(wanted, free)
        : rarest(input, free);
  const neighbour = index === undefined ? undefined : neighbours.best(index, now, random);
  return index === undefined || neighbour === undefined ? undefined : { index, neighbour };
}

const FIRST_BIT = 0x80;

function first(wanted: Bitfield, free: readonly Neighbour[]): number | undefined {
  for (let at = 0; at < wanted.bytes.length; at++) {
    const bits = given(wanted, free, at);
    if (bits !== 0) return 8 * at + firstBit(bits);
  }
  return undefined;
}

function rarest({ neighbours, wanted, random }: PickerInput, free: readonly Neighbour[]): number | undefined {
  let choice: number | undefined;
  let fewest = Infinity;
  let ties = 0;
  for (let at = 0; at < wanted.bytes.length; at++) {
    for (let bits = given(wanted, free, at); bits !== 0; bits &= ~(FIRST_BIT >> firstBit(bits))) {
      const index = 8 * at + firstBit(bits);
      const holders = neighbours.holders(index);
      if (holders > fewest) continue;
      ties = holders < fewest ? 1 : ties + 1;
      fewest = holders;
      if (random() * ties < 1) choice = index;
    }
  }
  return choice;
}

/** Of the eight chunks of a byte of a bitfield, those that are wanted and that one of those who can be asked has. */
function given({ bytes }: Bitfield, free: readonly Neighbour[], at: number): number {
  const wanted = bytes[at] ?? 0;
  let had = 0;
  if (wanted === 0) return had;
  for (const { have } of free) had |= have.bytes[at] ?? 0;
  return wanted & had;
}

/** Index of the highest bit of a byte: the first of its chunks. */
function firstBit(byte: number): number {
  return Math.clz32(byte) - 24;
}
