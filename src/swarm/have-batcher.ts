/** News for neighbours, gathered for some milliseconds: chunks that are here, and chunks that entered the cluster. */
import type { PeerName } from '../protocol/peer-id.ts';
import type { Beat } from './turn-batcher.ts';
import { MESSAGE_LIMITS, type SwarmKey, type SwarmMessage } from '../protocol/messages.ts';
import type { Neighbours } from './peer-set.ts';
import type { Statement } from '../protocol/attestation.ts';

const NO_PAGES: readonly [] = [];

export interface OutboxOptions {
  readonly swarm: SwarmKey;
  readonly beat: Beat;
  /** Milliseconds for which news may wait for more. */
  readonly batch: () => number;
  readonly neighbours: Pick<Neighbours, 'all' | 'has'>;
  readonly extent: () => number;
  readonly send: (peer: PeerName, message: SwarmMessage) => void;
}

interface SeenNews {
  readonly statement: Statement;
  /** Who told it, too: need not be told. */
  readonly known: PeerName[];
}

export class Outbox {
  readonly #options: OutboxOptions;
  #have: number[] = [];
  #seen: Map<number, SeenNews> = new Map();
  #cancel: (() => void) | undefined;

  constructor(options: OutboxOptions) {
    this.#options = options;
  }

  have(index: number): void {
    this.#have.push(index);
    this.#schedule();
  }

  seen(statement: Statement, from: PeerName | undefined): void {
    this.#seen.set(statement.index, { statement, known: from === undefined ? [] : [from] });
    this.#schedule();
  }

  /** One more neighbour tells this statement; it waits here perhaps. */
  isKnown(index: number, to: PeerName): void {
    this.#seen.get(index)?.known.push(to);
  }

  /** Sends at once what waits. */
  flush(): void {
    this.#cancel?.();
    this.#cancel = undefined;
    const { swarm, neighbours, send, extent } = this.#options;
    const here = this.#have;
    const seen = [...this.#seen.values()];
    this.#have = [];
    this.#seen = new Map();
    for (const neighbour of neighbours.all()) {
      const { peer } = neighbour;
      // What the other one has itself it need not be told: half of all messages.
      const indices: number[] = [];
      for (const index of here) if (!neighbours.has(neighbour, index)) indices.push(index);
      for (const page of pages(indices, MESSAGE_LIMITS.indices)) {
        send(peer, { kind: 'have', swarm, indices: page });
      }
      const statements: Statement[] = [];
      for (const { known, statement } of seen) {
        if (statement.by === peer || neighbours.has(neighbour, statement.index) || known.includes(peer))
          continue;
        statements.push(statement);
      }
      for (const page of pages(statements, MESSAGE_LIMITS.statements)) {
        send(peer, { kind: 'seen', swarm, extent: extent(), statements: page });
      }
    }
  }

  #schedule(): void {
    this.#cancel ??= this.#options.beat.within(this.#options.batch(), () => this.flush());
  }
}

function pages<T>(items: readonly T[], size: number): readonly (readonly T[])[] {
  if (items.length === 0) return NO_PAGES;
  if (items.length <= size) return [items];
  const count = Math.ceil(items.length / size);
  return Array.from({ length: count }, (_, at) => items.slice(at * size, (at + 1) * size));
}
