/** Whether the data folder can be written, as the last attempt showed: a disk may become read-only, or fail. */
import { errorMessage, isWeirError } from '../util/errors.ts';
import { writeError } from './file.ts';

export class WriteState {
  readonly #onChange: ((problem: string | undefined) => void) | undefined;
  #isWritable = true;

  /** @param onChange is told the problem when nothing can be written any more, and undefined when it can again */
  constructor(onChange: ((problem: string | undefined) => void) | undefined) {
    this.#onChange = onChange;
  }

  get isWritable(): boolean {
    return this.#isWritable;
  }

  succeeded(): void {
    this.#change(undefined);
  }

  /** @returns the store's error for this failure of a write */
  failed(cause: unknown): unknown {
    const error = writeError(cause);
    // That nothing fits, or that nobody waits for it, tells nothing of the disk.
    if (isWeirError(error, 'store_unusable')) this.#change(errorMessage(cause));
    return error;
  }

  #change(problem: string | undefined): void {
    const isWritable = problem === undefined;
    if (isWritable === this.#isWritable) return;
    this.#isWritable = isWritable;
    this.#onChange?.(problem);
  }
}
