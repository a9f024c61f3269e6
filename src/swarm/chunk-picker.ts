/** Which chunk to ask for next. Pure: the same state and the same chance give the same choice. */
import type { Neighbour, Neighbours } from './neighbours.ts';

export interface Choice {
  readonly index: number;
  readonly neighbour: Neighbour;
}

export interface PickerInput {
  readonly chunks: number;
  readonly neighbours: Neighbours;
  /** Neither here nor asked for. */
  readonly isWanted: (index: number) => boolean;
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
  const { neighbours, now, random } = input;
  const free = neighbours.free(now);
  if (free.length === 0) return undefined;
  // The very first chunk first: until it is there, a runtime waits for its first byte, and not for long.
  const index = isGiven(input, free, 0)
    ? 0
    : random() < input.inOrder
      ? first(input, free)
      : rarest(input, free);
  const neighbour = index === undefined ? undefined : neighbours.best(index, now, random);
  return index === undefined || neighbour === undefined ? undefined : { index, neighbour };
}

function first(input: PickerInput, free: readonly Neighbour[]): number | undefined {
  for (let index = 1; index < input.chunks; index++) if (isGiven(input, free, index)) return index;
  return undefined;
}

function rarest(input: PickerInput, free: readonly Neighbour[]): number | undefined {
  const { chunks, neighbours, random } = input;
  let choice: number | undefined;
  let fewest = Infinity;
  let ties = 0;
  for (let index = 1; index < chunks; index++) {
    const holders = neighbours.holders(index);
    if (holders > fewest || !isGiven(input, free, index)) continue;
    ties = holders < fewest ? 1 : ties + 1;
    fewest = holders;
    if (random() * ties < 1) choice = index;
  }
  return choice;
}

/** Whether the chunk is wanted, and one of those who can be asked has it. */
function isGiven({ neighbours, isWanted }: PickerInput, free: readonly Neighbour[], index: number): boolean {
  if (neighbours.holders(index) === 0 || !isWanted(index)) return false;
  for (const { have } of free) if (have.has(index)) return true;
  return false;
}
