/**
 * Finds the first neighbours, and those that a partition cut off.
 *
 * A node without neighbours asks the bootstrap names again and again, soon at first and then more slowly. A node with
 * neighbours asks every few minutes, and looks for addresses that it is not connected to. If the network was cut in
 * two, both halves have neighbours, and only this joins them again.
 */
import type { Connection } from '@libp2p/interface';
import type { MemberTable } from '../cluster/member-table.ts';
import type { Member } from '../protocol/member.ts';
import type { Clock } from '../util/clock.ts';
import { errorMessage, WeirError } from '../util/errors.ts';
import type { BootstrapEntry, Lookup } from './addresses.ts';
import { resolveBootstrap } from './addresses.ts';
import { BootstrapProblems, placeOf, type BootstrapProblem } from './bootstrap-problems.ts';
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
  /** How many peers are connected. */
  readonly neighbours: () => number;
  /** Whether an address is not worth a dial: it is this node's own, or a connected peer's. */
  readonly isUseless: (address: string) => boolean;
  readonly dial: (address: string, signal: AbortSignal) => Promise<Connection>;
  /** Called after a successful dial, and awaited: it makes the two nodes know each other. */
  readonly onConnected: (connection: Connection, signal: AbortSignal) => Promise<void>;
  /** Called before `onConnected` if the operator named the address. */
  readonly onNamed: (connection: Connection) => void;
  readonly onProblem: (message: string) => void;
}

export class Bootstrap {
  readonly #options: BootstrapOptions;
  /** The addresses that the operator named, as of the last round, each with the words of the operator. */
  #named: ReadonlyMap<string, string> = new Map();
  readonly #problems: BootstrapProblems = new BootstrapProblems();
  /** Ends the current wait early. */
  #hurry: AbortController = new AbortController();

  constructor(options: BootstrapOptions) {
    this.#options = options;
  }

  /** Why the names that the operator gave led to nobody; undefined if they did, or lead to this node alone. */
  get problem(): BootstrapProblem | undefined {
    return this.#problems.worst;
  }

  /** Tries again now: the last neighbour is gone, or a new address is known. */
  wake(): void {
    this.#hurry.abort();
  }

  /** Runs until the signal is aborted; never throws. */
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

  /** Tries all known addresses in random order, until it has found some neighbours. */
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
    if (!signal.aborted) this.#problems.endRound();
  }

  async #addresses(): Promise<readonly string[]> {
    const { entries, lookup, candidates, onProblem } = this.#options;
    const lists = entries.map(async (entry) => {
      try {
        const found = await resolveBootstrap(entry, lookup);
        if (found.length === 0) throw new WeirError('peer_unreachable', 'the name has no address');
        return found.map((address) => [address, placeOf(entry, address)] as const);
      } catch (error) {
        onProblem(`cannot resolve ${entry.host}: ${errorMessage(error)}`);
        this.#problems.add(placeOf(entry), error, 'unresolved');
        return [];
      }
    });
    this.#named = new Map((await Promise.all(lists)).flat());
    return [...new Set([...this.#named.keys(), ...candidates.addresses()])];
  }

  async #try(address: string, signal: AbortSignal): Promise<boolean> {
    const { dial, onConnected, onNamed, onProblem } = this.#options;
    try {
      const connection = await dial(address, signal);
      if (this.#named.has(address)) onNamed(connection);
      await onConnected(connection, signal);
      return true;
    } catch (error) {
      if (signal.aborted) return false;
      onProblem(`${address}: ${errorMessage(error)}`);
      // Other addresses are those of members that are gone: nobody is expected there.
      const place = this.#named.get(address);
      if (place !== undefined) this.#problems.add(place, error);
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

/** Whether the address is this node's own, or that of a live member while there are neighbours. */
export function leadsNowhereNew(
  address: string,
  table: Pick<MemberTable, 'self' | 'live'>,
  hasNeighbours: boolean,
): boolean {
  const plain = address.replace(/\/p2p\/[^/]+$/, '');
  const isAt = ({ controlAddresses }: Member): boolean => controlAddresses.includes(plain);
  // Live members are dialled by neighbours.ts if neighbours are missing.
  return isAt(table.self) || (hasNeighbours && table.live().some(isAt));
}
