/** The bodies that byte workers are sending out of one file. It must not be closed while they read it. */
import { Bell } from '../util/async.ts';

export class Sends {
  readonly #stops = new Set<() => void>();
  readonly #idle = new Bell();

  /** @param stop ends the sending soon @returns to be called when the file is not read any more */
  begin(stop: () => void): () => void {
    const entry = (): void => stop();
    this.#stops.add(entry);
    return () => {
      if (this.#stops.delete(entry) && this.#stops.size === 0) this.#idle.ring();
    };
  }

  stop(): void {
    for (const stop of this.#stops) stop();
  }

  /** Settles when nothing reads the file. */
  async ended(): Promise<void> {
    while (this.#stops.size > 0) await this.#idle.next;
  }
}
