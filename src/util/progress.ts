/**
 * How far an arriving blob has come, in memory that all threads share. So a reader in any thread streams a blob as it
 * grows, without a message for each chunk.
 *
 * ```
 * 0   i32  counts up at each change: threads wait for it (Atomics.wait, Atomics.waitAsync)
 * 4   i32  generation: counts up when the bytes turned out wrong and are fetched again
 * 8   i32  1 once the whole digest was found right, 2 if the bytes are wrong and no others will come
 * 16  i64  bytes from the start of the blob on that can be read without a gap
 * ```
 */
const CHANGES = 0;
const GENERATION = 1;
const VERDICT = 2;
const RIGHT = 1;
const WRONG = 2;
const PREFIX = 2;
const BYTES = 24;

export class Progress {
  readonly memory: SharedArrayBuffer;
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #longs: BigInt64Array<SharedArrayBuffer>;

  /** @param memory of the same blob in another thread; default: a new blob's */
  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(BYTES)) {
    this.memory = memory;
    this.#words = new Int32Array(memory);
    this.#longs = new BigInt64Array(memory);
  }

  /** Bytes from the start on that can be read without a gap. */
  get prefix(): number {
    return Number(Atomics.load(this.#longs, PREFIX));
  }

  get generation(): number {
    return Atomics.load(this.#words, GENERATION);
  }

  /** Whether the whole digest was found right. */
  get isWhole(): boolean {
    return Atomics.load(this.#words, VERDICT) === RIGHT;
  }

  /** Whether the bytes are wrong, and no others will come. */
  get isWrong(): boolean {
    return Atomics.load(this.#words, VERDICT) === WRONG;
  }

  /** The prefix reaches to `to`, or already further. */
  advance(to: number): void {
    const wanted = BigInt(to);
    for (;;) {
      const before = Atomics.load(this.#longs, PREFIX);
      if (before >= wanted) return;
      if (Atomics.compareExchange(this.#longs, PREFIX, before, wanted) === before) return this.wake();
    }
  }

  /** The whole digest is right. */
  complete(): void {
    Atomics.store(this.#words, VERDICT, RIGHT);
    this.wake();
  }

  /** The bytes are wrong, and no others will come. */
  refuse(): void {
    Atomics.store(this.#words, VERDICT, WRONG);
    this.wake();
  }

  /** All bytes are forgotten. */
  restart(): void {
    Atomics.add(this.#words, GENERATION, 1);
    Atomics.store(this.#longs, PREFIX, 0n);
    this.wake();
  }

  /** Wakes all that wait, in all threads. */
  wake(): void {
    Atomics.add(this.#words, CHANGES, 1);
    Atomics.notify(this.#words, CHANGES);
  }

  /** A mark for {@link changed}: to be taken before the state is looked at. */
  get mark(): number {
    return Atomics.load(this.#words, CHANGES);
  }

  /** Settles at the first change after `mark` was taken, or after so many milliseconds. */
  async changed(mark: number, timeout: number): Promise<void> {
    const wait = Atomics.waitAsync(this.#words, CHANGES, mark, timeout);
    if (wait.async) await wait.value;
  }
}
