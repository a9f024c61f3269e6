/**
 * The room that the chunks of one request take in the node's receive budget. It is asked for one chunk ahead of the one that
 * arrives. It passes to the receiver with each chunk; what is left at the end is given back.
 */
import type { ChunkLayout } from '../protocol/chunk-layout.ts';
import type { ReceiveBudget } from '../util/receive-budget.ts';

export interface ChunkRoomOptions {
  readonly layout: ChunkLayout;
  readonly room: ReceiveBudget;
  /** Ends all waits. */
  readonly signal: AbortSignal;
  /** Nothing can arrive for lack of room; `false`: it goes on. */
  readonly held: (isHeld: boolean) => void;
}

export class ChunkRoom {
  readonly #options: ChunkRoomOptions;
  /** By chunk: settles when its room is taken. */
  readonly #takes: Map<number, Promise<void>> = new Map();
  readonly #taken: Set<number> = new Set();
  /** The chunk that arrives. */
  #arriving: number;
  #isHeld = false;
  #closed = false;

  constructor(first: number, options: ChunkRoomOptions) {
    this.#arriving = first;
    this.#options = options;
  }

  /** Takes room for the chunk if there is some now. */
  tryTake(index: number): boolean {
    const { layout, room } = this.#options;
    if (!room.tryTake(layout.length(index))) return false;
    this.#taken.add(index);
    this.#takes.set(index, Promise.resolve());
    return true;
  }

  /** Settles when there is room for the chunk; asked again for the same chunk, it takes nothing more. @throws the reason */
  take(index: number): Promise<void> {
    const known = this.#takes.get(index);
    if (known !== undefined) return known;
    if (this.tryTake(index)) return Promise.resolve();
    const waiting = this.#wait(index);
    this.#takes.set(index, waiting);
    this.tell();
    return waiting;
  }

  async #wait(index: number): Promise<void> {
    const { layout, room, signal } = this.#options;
    const length = layout.length(index);
    await room.take(length, signal);
    if (this.#closed || signal.aborted) {
      room.give(length); // it was given up in the moment in which it got room
      throw signal.reason;
    }
    this.#taken.add(index);
    this.tell();
  }

  /** The chunk has arrived: its room is its receiver's. */
  arrived(index: number): void {
    this.#taken.delete(index);
    this.#takes.delete(index);
    this.#arriving = index + 1;
  }

  /** Says whether the chunk that arrives waits for room, if that has changed. */
  tell(): void {
    const isHeld = this.#takes.has(this.#arriving) && !this.#taken.has(this.#arriving);
    if (isHeld === this.#isHeld) return;
    this.#isHeld = isHeld;
    this.#options.held(isHeld);
  }

  /** Gives back what no chunk has used. */
  close(): void {
    this.#closed = true;
    const { layout, room } = this.#options;
    for (const index of this.#taken) room.give(layout.length(index));
    this.#taken.clear();
  }
}
