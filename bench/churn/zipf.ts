/** Draws the image to pull: the first is the most popular, the k-th 1/k^s as much (Zipf's law). Pure. */

export class Zipf {
  /** Chance that a draw is at most this one. */
  readonly #cumulative: readonly number[];

  /** @param exponent 0: all images alike */
  constructor(count: number, exponent: number) {
    const weights = Array.from({ length: count }, (_, index) => 1 / (index + 1) ** exponent);
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    let sum = 0;
    this.#cumulative = weights.map((weight) => (sum += weight / total));
  }

  /** @param chance in [0, 1) */
  pick(chance: number): number {
    const found = this.#cumulative.findIndex((limit) => chance < limit);
    return found === -1 ? this.#cumulative.length - 1 : found; // rounding
  }
}
