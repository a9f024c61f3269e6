/**
 * The first neighbours, and those that a partition has cut off. While this node is alone it asks the bootstrap names
 * again and again, soon and then more slowly; once it has neighbours, every few minutes, and looks then for addresses
 * that it is not connected to: if the network was cut in two, both halves have neighbours, and only this joins them.
 */
import type { Connection } from '@libp2p/interface';
import type { Clock } from '../util/clock.ts';
import { errorMessage } from '../util/errors.ts';
import type { BootstrapEntry, Lookup } from './addresses.ts';
import { resolveBootstrap } from './addresses.ts';
import type { Candidates } from './candidates.ts';
import {
  BOOTSTRAP_ENOUGH,
  BOOTSTRAP_FIRST_DELAY,
  BOOTSTRAP_INTERVAL,
  BOOTSTRAP_MAX_DELAY,
  BOOTSTRAP_PARALLEL,
  BOOTSTRAP_TRIES,
} from './limits.ts';

export interface BootstrapOptions {
  readonly entries: readonly BootstrapEntry[];
  readonly lookup: Lookup;
  readonly clock: Clock;
  readonly candidates: Candidates;
  /** Connected peers. */
  readonly neighbours: () => number;
  /** Addresses not worth a dial: this node's own, and those of connected peers. */
  readonly isUseless: (address: string) => boolean;
  readonly dial: (address: string, signal: AbortSignal) => Promise<Connection>;
  /** Called after a dial that succeeded, and waited for: it makes the two know each other. */
  readonly onConnected: (connection: Connection, signal: AbortSignal) => Promise<void>;
  /** Called before, where the operator has named the address. */
  readonly onNamed: (connection: Connection) => void;
  readonly onProblem: (message: string) => void;
}

export class Bootstrap {
  readonly #options: BootstrapOptions;
  /** Addresses that the operator has named, in the last round. */
  #named: ReadonlySet<string> = new Set();
  /** Cuts the present wait short. */
  #hurry: AbortController = new AbortController();

  constructor(options: BootstrapOptions) {
    this.#options = options;
  }

  /** Something has changed that makes trying worth while: the last neighbour is gone, or a new address is known. */
  wake(): void {
    this.#hurry.abort();
  }

  /** Goes on until the signal is aborted; never throws. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, neighbours } = this.#options;
    let delay = BOOTSTRAP_FIRST_DELAY;
    while (!signal.aborted) {
      await this.#round(signal);
      const isAlone = neighbours() === 0;
      const pause = (isAlone ? delay : BOOTSTRAP_INTERVAL) * (0.5 + clock.random());
      delay = isAlone ? Math.min(delay * 2, BOOTSTRAP_MAX_DELAY) : BOOTSTRAP_FIRST_DELAY;
      await this.#sleep(pause, signal);
    }
  }

  async #sleep(ms: number, signal: AbortSignal): Promise<void> {
    this.#hurry = new AbortController();
    try {
      await this.#options.clock.sleep(ms, { signal: AbortSignal.any([signal, this.#hurry.signal]) });
    } catch {
      // Woken, or stopped: the loop sees which.
    }
  }

  /** Tries all that is known, at random, until there are some new neighbours. */
  async #round(signal: AbortSignal): Promise<void> {
    const { clock, isUseless, neighbours } = this.#options;
    const addresses = shuffled(await this.#addresses(), clock);
    let found = 0;
    let tries = neighbours() === 0 ? addresses.length : BOOTSTRAP_TRIES;
    const worker = async (): Promise<void> => {
      while (found < BOOTSTRAP_ENOUGH && tries > 0 && !signal.aborted) {
        const address = addresses.pop();
        if (address === undefined) return;
        if (isUseless(address)) continue;
        tries -= 1;
        if (await this.#try(address, signal)) found += 1;
      }
    };
    await Promise.all(Array.from({ length: BOOTSTRAP_PARALLEL }, worker));
  }

  async #addresses(): Promise<readonly string[]> {
    const { entries, lookup, candidates, onProblem } = this.#options;
    const lists = entries.map(async (entry) => {
      try {
        return await resolveBootstrap(entry, lookup);
      } catch (error) {
        onProblem(`cannot resolve ${entry.host}: ${errorMessage(error)}`);
        return [];
      }
    });
    this.#named = new Set((await Promise.all(lists)).flat());
    return [...new Set([...this.#named, ...candidates.addresses()])];
  }

  async #try(address: string, signal: AbortSignal): Promise<boolean> {
    const { dial, onConnected, onNamed, onProblem } = this.#options;
    try {
      const connection = await dial(address, signal);
      if (this.#named.has(address)) onNamed(connection);
      await onConnected(connection, signal);
      return true;
    } catch (error) {
      if (!signal.aborted) onProblem(`${address}: ${errorMessage(error)}`);
      return false;
    }
  }
}

function shuffled(list: readonly string[], clock: Clock): string[] {
  return list
    .map((value) => ({ value, order: clock.random() }))
    .sort((a, b) => a.order - b.order)
    .map(({ value }) => value);
}
