/** Tells when a connection has been silent for too long. Time is counted in ticks of a second, in which this thread ran. */
import { SECOND } from '../util/clock.ts';
import { WeirError } from '../util/errors.ts';
import { LIMITS } from '../transfer/limits.ts';

/** Ticks until a silent connection gets a ping, and then until it is cut. */
const SILENCE = 10;
const ANSWER = 5;
/** Ticks until a connection that nothing was said over is closed: sooner by the side that dialled. */
const IDLE_DIALLER = LIMITS.idle / SECOND;
const IDLE_DIALLED = 1.5 * IDLE_DIALLER;
/** Ticks for the greeting. A handshake takes three packets, and seconds if CPU is short. */
const GREETING = 15;

export interface Look {
  /** Both sides have greeted. */
  readonly isOpen: boolean;
  /** Something is under way. */
  readonly isBusy: boolean;
  /** Nothing is being read, for reasons of this side. */
  readonly isPaused: boolean;
}

export class Silence {
  readonly #idle: number;
  /** Ticks since a byte came, and since something was said. */
  #silent = 0;
  #unused = 0;

  constructor(hasDialled: boolean) {
    this.#idle = hasDialled ? IDLE_DIALLER : IDLE_DIALLED;
  }

  /** A byte has come. */
  heard(): void {
    this.#silent = 0;
  }

  /** Something was said, by either side. */
  said(): void {
    this.#unused = 0;
  }

  /** @returns what is to be done: a ping, or the reason to close the connection */
  tick({ isOpen, isBusy, isPaused }: Look): 'ping' | WeirError | undefined {
    if (!isPaused) this.#silent++;
    this.#unused = isBusy ? 0 : this.#unused + 1;
    // Whatever has come: a stranger must not hold a connection with a byte now and then.
    if (!isOpen)
      return this.#unused < GREETING
        ? undefined
        : new WeirError('peer_stalled', `no greeting within ${GREETING} s`);
    if (this.#unused >= this.#idle) return new WeirError('aborted', 'the connection was idle');
    if (this.#silent === SILENCE) return 'ping';
    if (this.#silent < SILENCE + ANSWER) return undefined;
    return new WeirError('peer_stalled', `nothing came for ${SILENCE + ANSWER} s`);
  }
}
