/** A report that is made soon after something has changed, but not more often than the main thread wants to hear of it. */

/** Milliseconds between two reports. A message costs 16 µs; no time-out that looks at progress is shorter than 200 ms. */
const INTERVAL = 20;

export class PacedReport {
  readonly #report: () => void;
  #lastAt = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;

  constructor(report: () => void) {
    this.#report = report;
  }

  /** Reports now, or when the interval is over. */
  soon(): void {
    if (this.#timer !== undefined) return;
    const left = this.#lastAt + INTERVAL - performance.now();
    if (left <= 0) this.now();
    else this.#timer = setTimeout(() => this.now(), left);
  }

  now(): void {
    this.stop();
    this.#lastAt = performance.now();
    this.#report();
  }

  /** Makes no further report by itself. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
