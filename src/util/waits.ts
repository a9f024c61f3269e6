/** How long a request waited, by cause: an operator asks for it when a pull was slow. */

/**
 * Before the first byte of a body could be sent:
 *   queue      for one of the places of `pull.max-concurrent`
 *   access     until it was known that the registry lets the caller have the blob
 *   registry   for the registry's answer, and for its first bytes
 *   peers      for the first bytes of a blob that is pulled with peers
 *   disk       until a blob that is here was opened
 * After it:
 *   arriving   while the blob was not here whole
 *   sending    once the blob was here whole: the disk and the client take this time
 */
export const WAIT_CAUSES = ['queue', 'access', 'registry', 'peers', 'disk', 'arriving', 'sending'] as const;
export type WaitCause = (typeof WAIT_CAUSES)[number];

/** Seconds by cause. */
export type WaitSeconds = Readonly<Record<WaitCause, number>>;

export const NO_WAITS: WaitSeconds = Object.freeze({
  queue: 0,
  access: 0,
  registry: 0,
  peers: 0,
  disk: 0,
  arriving: 0,
  sending: 0,
});

export class Waits {
  readonly #now: () => number;
  readonly #seconds: Record<WaitCause, number> = { ...NO_WAITS };

  /** @param now monotonic milliseconds */
  constructor(now: () => number) {
    this.#now = now;
  }

  get seconds(): WaitSeconds {
    return this.#seconds;
  }

  /** @param milliseconds none are counted if they are negative */
  add(cause: WaitCause, milliseconds: number): void {
    this.#seconds[cause] += Math.max(0, milliseconds) / 1000;
  }

  /** Counts the time until `work` settles. @param cause may be known only then */
  async during<T>(cause: WaitCause | (() => WaitCause), work: Promise<T>): Promise<T> {
    const began = this.#now();
    try {
      return await work;
    } finally {
      this.add(typeof cause === 'function' ? cause() : cause, this.#now() - began);
    }
  }
}

/** {@link Waits.during} for a request that need not be accounted for. */
export function counting<T>(
  waits: Waits | undefined,
  cause: WaitCause | (() => WaitCause),
  work: Promise<T>,
): Promise<T> {
  return waits === undefined ? work : waits.during(cause, work);
}

/** The sum of both, by cause. */
export function addWaits(a: WaitSeconds, b: WaitSeconds): WaitSeconds {
  const sum: Record<WaitCause, number> = { ...a };
  for (const cause of WAIT_CAUSES) sum[cause] += b[cause];
  return sum;
}
