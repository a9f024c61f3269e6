/** Collects unhandled failures while a test runs; mocha would end the whole run for one. */
export class Unhandled implements Disposable {
  readonly reasons: unknown[] = [];
  readonly #others: readonly NodeJS.UnhandledRejectionListener[];

  constructor() {
    this.#others = process.listeners('unhandledRejection');
    process.removeAllListeners('unhandledRejection');
    process.on('unhandledRejection', this.#keep);
  }

  readonly #keep = (reason: unknown): void => void this.reasons.push(reason);

  [Symbol.dispose](): void {
    process.off('unhandledRejection', this.#keep);
    for (const other of this.#others) process.on('unhandledRejection', other);
  }
}
