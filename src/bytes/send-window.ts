/**
 * How many bytes of chunks may be on their way to a peer. Without a bound of our own they fill the kernel's buffer, which
 * holds hundreds of KiB: on a slow link a message behind them waits for half a second, and a cancelled chunk comes all the
 * same. Node.js cannot set the size of that buffer.
 *
 * A mark follows each quarter of the window, and the peer returns it at once. How long that takes shows how much waits on
 * the way: above {@link TARGET} the window shrinks, else it grows while it is full. So on a fast link nothing is held up.
 */
import { KIB, MIB, MILLISECOND } from '../util/clock.ts';
import type { WeirError } from '../util/errors.ts';
import { MAX_DATA_BYTES } from '../transfer/frames.ts';

/** Bytes: at first, at least, and at most what Linux buffers of one connection (tcp_wmem). */
const START = 256 * KIB;
const LEAST = 64 * KIB;
const MOST = 4 * MIB;
/** Milliseconds from a mark to its return that are aimed at: more than a full queue at a link costs. */
const TARGET = 150 * MILLISECOND;
/** Bytes of the shortest data frame. */
const MIN_STEP = 16 * KIB;
/** By how much one mark shrinks the window at most. */
const MOST_SHRINK = 1 / 8;
/** Marks in a window. */
const MARKS = 4;
/** A window with the longest data frames: on a fast link it grows so far although it is never full. */
const LONGEST_STEPS = MARKS * MAX_DATA_BYTES;

interface Mark {
  readonly id: number;
  /** Bytes that were sent before it. */
  readonly position: number;
  /** Milliseconds, monotonic. */
  readonly at: number;
}

export class SendWindow {
  readonly #sendMark: (id: number) => void;
  readonly #now: () => number;
  readonly #marks: Mark[] = [];
  #size = START;
  #sent = 0;
  #returned = 0;
  #marked = 0;
  #nextId = 0;
  /** The window has held something up since it last grew. */
  #wasFull = false;
  /** Marks from before this do not shrink it again. */
  #shrunkAt = Number.NEGATIVE_INFINITY;
  #waiting: PromiseWithResolvers<void> | undefined;
  #waitsSince = 0;
  #failure: WeirError | undefined;

  constructor(sendMark: (id: number) => void, now: () => number) {
    this.#sendMark = sendMark;
    this.#now = now;
  }

  /** Bytes of the next data frame, at most. */
  get step(): number {
    return Math.min(MAX_DATA_BYTES, Math.max(MIN_STEP, this.#size / MARKS));
  }

  /** Milliseconds for which something has waited for room; 0 if nothing does. */
  get waits(): number {
    return this.#waiting === undefined ? 0 : this.#now() - this.#waitsSince;
  }

  /** Settles when there is room. One at a time. @throws WeirError why there will be none */
  async take(bytes: number): Promise<void> {
    this.#waitsSince = this.#now();
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure;
      const onTheWay = this.#sent - this.#returned;
      if (onTheWay === 0 || onTheWay + bytes <= this.#size) return;
      this.#wasFull = true;
      this.#waiting = Promise.withResolvers();
      await this.#waiting.promise;
    }
  }

  /** Bytes have been handed to the socket. */
  sent(bytes: number): void {
    this.#sent += bytes;
    if (this.#sent - this.#marked >= this.#size / MARKS) this.mark();
  }

  /** Nothing more follows for now. */
  mark(): void {
    if (this.#sent === this.#marked) return;
    this.#marked = this.#sent;
    const id = this.#nextId;
    this.#nextId = (id + 1) % 2 ** 32;
    this.#marks.push({ id, position: this.#sent, at: this.#now() });
    this.#sendMark(id);
  }

  /** The peer has returned a mark, and with it all before it. */
  returned(id: number): void {
    const index = this.#marks.findIndex((mark) => mark.id === id);
    const mark = this.#marks[index];
    if (mark === undefined) return;
    this.#marks.splice(0, index + 1);
    this.#returned = mark.position;
    this.#adapt(mark);
    this.#wake();
  }

  /** Fails all that waits, now and later. */
  close(error: WeirError): void {
    this.#failure ??= error;
    this.#wake();
  }

  #adapt({ at }: Mark): void {
    const took = this.#now() - at;
    if (took > TARGET) {
      if (at < this.#shrunkAt) return;
      this.#size = Math.max(LEAST, this.#size * Math.max(MOST_SHRINK, TARGET / took));
      this.#shrunkAt = this.#now();
      this.#wasFull = false;
    } else if (this.#wasFull || (took < TARGET / 4 && this.#size < LONGEST_STEPS)) {
      this.#size = Math.min(MOST, this.#size * (took < TARGET / 4 ? 2 : 1.125));
      this.#wasFull = false;
    }
  }

  #wake(): void {
    this.#waiting?.resolve();
    this.#waiting = undefined;
  }
}
