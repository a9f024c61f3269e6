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
  if (input.neighbours.areBusy(input.now)) return undefined;
  // The very first chunk first: until it is there, a runtime waits for its first byte, and not for long.
  const first = giver(input, 0);
  if (first !== undefined) return { index: 0, neighbour: first };
  return input.random() < input.inOrder ? pickFirst(input) : pickRarest(input);
}

function pickFirst(input: PickerInput): Choice | undefined {
  for (let index = 0; index < input.chunks; index++) {
    const neighbour = giver(input, index);
    if (neighbour !== undefined) return { index, neighbour };
  }
  return undefined;
}

function pickRarest(input: PickerInput): Choice | undefined {
  const { chunks, neighbours, random } = input;
  let choice: Choice | undefined;
  let fewest = Infinity;
  let ties = 0;
  for (let index = 0; index < chunks; index++) {
    const holders = neighbours.holders(index);
    if (holders === 0 || holders > fewest) continue;
    const neighbour = giver(input, index);
    if (neighbour === undefined) continue;
    ties = holders < fewest ? 1 : ties + 1;
    fewest = holders;
    if (random() * ties < 1) choice = { index, neighbour };
  }
  return choice;
}

function giver({ neighbours, isWanted, now, random }: PickerInput, index: number): Neighbour | undefined {
  if (neighbours.holders(index) === 0 || !isWanted(index)) return undefined;
  return neighbours.best(index, now, random);
}
