/** What lost packets cost: TCP sends them again, late, and takes them as a sign to send less. */

/** Bytes of content in a packet. */
const SEGMENT = 1448;
/** TCP's constant if each packet is lost by chance alone (Mathis, Semke, Mahdavi and Ott, 1997). */
const MATHIS = Math.sqrt(3 / 2);
/**
 * Milliseconds after which Linux resends, at the earliest, a packet that was alone in its window, as a short message.
 */
const RETRANSMISSION = 200;

export class Loss {
  readonly #share: number;
  readonly #random: () => number;

  /** @param share of packets, 0 to 1 */
  constructor(share: number, random: () => number) {
    this.#share = share;
    this.#random = random;
  }

  /** The rate of one connection, in bytes per millisecond. @param latency milliseconds of one way */
  cap(latency: number): number {
    if (this.#share === 0) return Infinity;
    return (SEGMENT / (2 * latency)) * (MATHIS / Math.sqrt(this.#share));
  }

  /** Milliseconds by which a short message is late. */
  delay(): number {
    let late = 0;
    if (this.#share === 0) return late;
    for (let wait = RETRANSMISSION; this.#random() < this.#share; wait *= 2) late += wait;
    return late;
  }
}
