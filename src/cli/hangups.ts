/**
 * SIGHUP of a node: it never ends the process, also not while that starts or stops. It would by default, until somebody listens:
 * so main.ts makes this before it loads anything.
 */
export class Hangups {
  #listener: (() => void) | undefined;
  #isPending = false;

  constructor(process: Pick<NodeJS.Process, 'on'>) {
    process.on('SIGHUP', () => {
      if (this.#listener === undefined) this.#isPending = true;
      else this.#listener();
    });
  }

  /** Calls back at each one, and at once if one has come already. */
  listen(listener: () => void): void {
    this.#listener = listener;
    if (this.#isPending) listener();
    this.#isPending = false;
  }
}
