/** News for neighbours, gathered for some milliseconds: chunks that are here, and chunks that entered the cluster. */
import type { PeerName } from '../peer/peer-name.ts';
import { MESSAGE_LIMITS, type SwarmKey, type SwarmMessage } from '../protocol/messages.ts';
import type { Scheduler } from './scheduler.ts';
import type { Statement } from '../protocol/statement.ts';

export interface OutboxOptions {
  readonly swarm: SwarmKey;
  readonly scheduler: Scheduler;
  /** Milliseconds. */
  readonly batch: number;
  readonly neighbours: () => Iterable<{ readonly peer: PeerName }>;
  readonly extent: () => number;
  readonly send: (peer: PeerName, message: SwarmMessage) => void;
}

interface SeenNews {
  readonly statement: Statement;
  /** Who told: need not be told. */
  readonly from: PeerName | undefined;
}

export class Outbox {
  readonly #options: OutboxOptions;
  #have: number[] = [];
  #seen: SeenNews[] = [];
  #cancel: (() => void) | undefined;

  constructor(options: OutboxOptions) {
    this.#options = options;
  }

  have(index: number): void {
    this.#have.push(index);
    this.#schedule();
  }

  seen(statement: Statement, from: PeerName | undefined): void {
    this.#seen.push({ statement, from });
    this.#schedule();
  }

  /** Sends at once what waits. */
  flush(): void {
    this.#cancel?.();
    this.#cancel = undefined;
    const { swarm, neighbours, send, extent } = this.#options;
    const [have, seen] = [this.#have, this.#seen];
    this.#have = [];
    this.#seen = [];
    for (const { peer } of neighbours()) {
      for (const indices of pages(have, MESSAGE_LIMITS.indices)) send(peer, { kind: 'have', swarm, indices });
      const news = seen.filter(({ from, statement }) => from !== peer && statement.by !== peer);
      for (const page of pages(news, MESSAGE_LIMITS.statements)) {
        const statements = page.map(({ statement }) => statement);
        send(peer, { kind: 'seen', swarm, extent: extent(), statements });
      }
    }
  }

  stop(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }

  #schedule(): void {
    this.#cancel ??= this.#options.scheduler.after(this.#options.batch, () => this.flush());
  }
}

function* pages<T>(items: readonly T[], size: number): Generator<readonly T[]> {
  for (let start = 0; start < items.length; start += size) yield items.slice(start, start + size);
}
