/**
 * The node at which orders are given. It chooses the nodes, and asks each of them over the peer wire until it is over: the
 * question is the order itself, so a lost one, a restarted node and a cut connection are mended by the next one. 300 nodes
 * have heard of an order within some seconds.
 *
 * Orders and their progress are in memory alone. If this node stops, the others carry out what they have taken.
 */
import { repositoryKey } from '../oci/repository.ts';
import { MINUTE, SECOND, type Clock } from '../util/clock.ts';
import { errorMessage, isWeirError, WeirError } from '../util/errors.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import {
  decodePreheatProgress,
  encodePreheatOrder,
  type MemberProgress,
  type PreheatOrder,
} from '../protocol/preheat-messages.ts';
import type { PreheatReport, PreheatsReport } from '../status/preheat-report.ts';
import { chooseNodes } from './choose-nodes.ts';
import { FollowedOrder, type ChosenNode } from './followed-order.ts';
import type { OrderRequest } from './order-request.ts';
import { MAX_ORDERS, type PreheatMember } from './preheat-member.ts';

/** Nodes that are asked at a time: each new one costs a TLS handshake. */
const ASKED_AT_ONCE = 16;
/** Milliseconds for one answer, with the dial. */
const ANSWER_TIMEOUT = 5 * SECOND;
/** Milliseconds between two rounds, while nodes pull; until all have taken the order; and once they have, until its start. */
const ROUND = 1 * SECOND;
const SPREAD_ROUND = 3 * SECOND;
const WAITING_ROUND = 1 * MINUTE;
/** Milliseconds without an answer after which a node has failed, once the order has started: a restart takes less. */
const SILENT_FOR = 1 * MINUTE;
/** Orders that are over and are still reported. */
const MAX_OVER = 32;
/** Images times nodes, of one order and of all: some 100 bytes each here, and in the report. */
const MAX_ENTRIES = 32_768;
const MAX_ENTRIES_IN_ALL = 4 * MAX_ENTRIES;

export interface PreheatOrdersOptions {
  readonly token: Uint8Array | undefined;
  /** Nodes that may be chosen, this one among them. */
  readonly nodes: () => readonly ChosenNode[];
  readonly self: PeerId;
  readonly member: Pick<PreheatMember, 'take'>;
  /** Asks another member. */
  readonly ask: (
    peer: PeerId,
    order: Uint8Array,
    options: { readonly timeout: number; readonly signal: AbortSignal },
  ) => Promise<Uint8Array>;
  readonly clock: Clock;
  readonly onOver: (report: PreheatReport) => void;
}

export class PreheatOrders implements AsyncDisposable {
  readonly #options: PreheatOrdersOptions;
  /** By ID, the oldest first. */
  readonly #orders = new Map<string, FollowedOrder>();
  readonly #stop = new AbortController();
  readonly #running = new Map<string, Promise<void>>();

  constructor(options: PreheatOrdersOptions) {
    this.#options = options;
  }

  /** @throws WeirError `bad_request` if no node is eligible, `too_many_requests` */
  create({ order, zone, nodes }: OrderRequest): PreheatReport {
    const { clock, nodes: known } = this.#options;
    const members = known();
    const key = order.images.map(({ repository }) => repositoryKey(repository)).join(' ');
    const chosen = chooseNodes(members, { zone, nodes, key });
    if (chosen.length === 0) throw new WeirError('bad_request', zoneProblem(zone, members));
    const followed = new FollowedOrder({ order, zone, nodes, chosen });
    this.#makeRoom(followed);
    this.#orders.set(order.id, followed);
    this.#running.set(order.id, this.#follow(followed));
    return followed.report(clock.now());
  }

  get(id: string): PreheatReport | undefined {
    return this.#orders.get(id)?.report(this.#options.clock.now());
  }

  list(): PreheatsReport {
    const now = this.#options.clock.now();
    return { preheats: [...this.#orders.values()].map((each) => each.summary(now)).toReversed() };
  }

  #makeRoom({ entries }: FollowedOrder): void {
    if (this.#running.size >= MAX_ORDERS) {
      throw new WeirError(
        'too_many_requests',
        `${MAX_ORDERS} orders are not over yet, and no more are taken: see GET /v1/preheats`,
      );
    }
    if (entries > MAX_ENTRIES) throw tooLarge(`${entries} images of nodes are more than ${MAX_ENTRIES}`);
    const over = [...this.#orders.keys()].filter((id) => !this.#running.has(id)).values();
    for (const id of over) {
      const isFull = this.#orders.size - this.#running.size > MAX_OVER;
      if (!isFull && this.#entries + entries <= MAX_ENTRIES_IN_ALL) return;
      this.#orders.delete(id);
    }
    if (this.#entries + entries > MAX_ENTRIES_IN_ALL)
      throw tooLarge('the orders that are not over are too large');
  }

  get #entries(): number {
    return this.#orders.values().reduce((sum, { entries }) => sum + entries, 0);
  }

  /** Never rejects. Asks all open nodes in rounds until none is left. */
  async #follow(followed: FollowedOrder): Promise<void> {
    const { clock, onOver } = this.#options;
    const { order } = followed;
    const { signal } = this.#stop;
    const answeredAt = new Map<PeerId, number>();
    try {
      while (!followed.isOver(clock.now())) {
        await this.#round(followed, answeredAt);
        this.#giveUp(followed, answeredAt);
        if (followed.open.length === 0) break;
        await clock.sleep(pauseOf(followed, clock.now()), { signal });
      }
      onOver(followed.report(clock.now()));
    } catch (error) {
      if (!signal.aborted) for (const peer of followed.open) followed.failed(peer, errorMessage(error));
    }
    this.#running.delete(order.id);
  }

  async #round(followed: FollowedOrder, answeredAt: Map<PeerId, number>): Promise<void> {
    const { clock } = this.#options;
    const left = followed.open.values();
    const work = async (): Promise<void> => {
      for (const peer of left) {
        const progress = await this.#ask(peer, followed.order);
        if (progress === undefined) continue;
        followed.answered(peer, progress);
        answeredAt.set(peer, clock.monotonic());
      }
    };
    await Promise.all(Array.from({ length: ASKED_AT_ONCE }, work));
  }

  /** Undefined if there is no answer: it is asked again in the next round. */
  async #ask(peer: PeerId, order: PreheatOrder): Promise<MemberProgress | undefined> {
    const { self, member, token, ask } = this.#options;
    if (peer === self) return member.take(order, 'this node');
    if (token === undefined) return { refused: 'preheat is off' };
    const { signal } = this.#stop;
    try {
      const question = encodePreheatOrder(order, { from: self, to: peer }, token);
      return decodePreheatProgress(await ask(peer, question, { timeout: ANSWER_TIMEOUT, signal }));
    } catch (error) {
      signal.throwIfAborted();
      if (isWeirError(error)) return undefined;
      throw error;
    }
  }

  /** Nodes that do not answer: they are gone, or of a version that knows no orders. */
  #giveUp(followed: FollowedOrder, answeredAt: ReadonlyMap<PeerId, number>): void {
    const { clock } = this.#options;
    const { starts, expires } = followed.order;
    const sinceStart = clock.now() - starts;
    for (const peer of followed.open) {
      const silent = Math.min(
        sinceStart,
        clock.monotonic() - (answeredAt.get(peer) ?? Number.NEGATIVE_INFINITY),
      );
      if (silent >= SILENT_FOR) {
        followed.failed(
          peer,
          `no answer for ${SILENT_FOR / SECOND} s: it is gone, or its version knows no preheat`,
        );
      } else if (clock.now() > expires + SILENT_FOR) followed.failed(peer, 'the order has expired');
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new WeirError('aborted', 'the node stops'));
    await Promise.all(this.#running.values());
  }
}

function pauseOf(followed: FollowedOrder, now: number): number {
  const untilStart = followed.order.starts - now;
  if (untilStart <= 0) return ROUND;
  return Math.min(untilStart, followed.isSpread ? WAITING_ROUND : SPREAD_ROUND);
}

function zoneProblem(zone: string | undefined, members: readonly ChosenNode[]): string {
  const zones = [...new Set(members.map((member) => member.zone))].slice(0, 16);
  return `zone: no live member is in ${JSON.stringify(zone)} (members are in: ${zones.map((each) => JSON.stringify(each)).join(', ')})`;
}

function tooLarge(problem: string): WeirError {
  return new WeirError('too_many_requests', `${problem}: name fewer images or nodes in one order`);
}
