/**
 * The node that carries orders out: it checks who gave them, waits for their start, and pulls their images one after the
 * other. Asked again for an order that it knows, it tells the progress.
 *
 * Orders are in memory alone. After a restart the ordering node's next question brings them back.
 */
import type { Clock } from '../util/clock.ts';
import { MINUTE } from '../util/clock.ts';
import { WeirError } from '../util/errors.ts';
import { Semaphore } from '../util/semaphore.ts';
import type { Platform } from '../oci/manifest.ts';
import { hostPlatform } from '../oci/platform.ts';
import type { ImageReference } from '../oci/reference.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import {
  decodePreheatOrder,
  encodePreheatProgress,
  PREHEAT_LIMITS,
  type ImageProgress,
  type MemberProgress,
  type PreheatOrder,
} from '../protocol/preheat-messages.ts';
import type { ImagePull } from './image-pull.ts';

/** Orders that are not over, of one ordering node and of all. */
export const MAX_ORDERS = 16;
const MAX_ORDERS_IN_ALL = 64;
/** Orders that are remembered, with those that are over. */
const MAX_KNOWN = 128;
/** Milliseconds by which the clocks of two nodes may differ. */
const MAX_SKEW = 5 * MINUTE;

/** Who gave the order. */
export type Giver = PeerId | 'this node';

interface KnownOrder {
  readonly from: Giver;
  readonly images: ImageProgress[];
  isOver: boolean;
}

export interface PreheatMemberOptions {
  /** What the operator gave this node and those that may give it orders; undefined: nobody may. */
  readonly token: Uint8Array | undefined;
  readonly images: Pick<ImagePull, 'run'>;
  readonly clock: Clock;
  /** Default: what a runtime on this machine pulls. */
  readonly platform?: Platform;
  readonly onTaken: (order: PreheatOrder, from: Giver) => void;
  readonly onImage: (id: string, image: ImageReference, progress: ImageProgress) => void;
}

const WAITING: ImageProgress = { state: 'waiting', reason: '', presentBytes: 0, size: 0 };

export class PreheatMember implements AsyncDisposable {
  readonly #options: PreheatMemberOptions;
  readonly #orders = new Map<string, KnownOrder>();
  readonly #turns = new Semaphore(1);
  readonly #stop = new AbortController();
  readonly #running = new Set<Promise<void>>();

  constructor(options: PreheatMemberOptions) {
    this.#options = options;
  }

  /**
   * Replies to another member.
   * @param self this node
   * @throws WeirError `peer_protocol`
   */
  answer(from: PeerId, self: PeerId, bytes: Uint8Array): Uint8Array {
    const { token } = this.#options;
    if (token === undefined) {
      return encodePreheatProgress({ refused: 'preheat is off on that node: it has no preheat.token-file' });
    }
    const order = decodePreheatOrder(bytes, { from, to: self }, token);
    if (order === undefined) {
      return encodePreheatProgress({ refused: 'the preheat.token-file of that node has another token' });
    }
    return encodePreheatProgress(this.take(order, from));
  }

  /** Takes an order, or tells how far it is. */
  take(order: PreheatOrder, from: Giver): MemberProgress {
    const known = this.#orders.get(order.id);
    if (known !== undefined && known.from === from) return { refused: undefined, images: known.images };
    const refused = this.#refusal(order, from);
    if (refused !== undefined) return { refused };
    const taken: KnownOrder = { from, images: order.images.map(() => WAITING), isOver: false };
    this.#orders.set(order.id, taken);
    this.#options.onTaken(order, from);
    const work = this.#run(order, taken);
    this.#running.add(work);
    void work.finally(() => this.#running.delete(work));
    return { refused: undefined, images: taken.images };
  }

  #refusal({ id, starts, expires }: PreheatOrder, from: Giver): string | undefined {
    if (this.#stop.signal.aborted) return 'that node is shutting down';
    const now = this.#options.clock.now();
    if (expires <= now) return 'the order has expired, or the clock of that node is wrong';
    if (starts > now + PREHEAT_LIMITS.delay + MAX_SKEW)
      return 'the order starts too late, or a clock is wrong';
    if (this.#orders.has(id)) return 'another node has given an order with the same ID';
    const active = [...this.#orders.values()].filter(({ isOver }) => !isOver);
    const own = active.filter((order) => order.from === from).length;
    if (own >= MAX_ORDERS || active.length >= MAX_ORDERS_IN_ALL)
      return 'that node has too many orders already';
    for (const [known, { isOver }] of this.#orders) {
      if (this.#orders.size < MAX_KNOWN) break;
      if (isOver) this.#orders.delete(known);
    }
    return undefined;
  }

  /** Never rejects. */
  async #run(order: PreheatOrder, taken: KnownOrder): Promise<void> {
    const { clock, images, platform = hostPlatform(), onImage } = this.#options;
    const expired = new AbortController();
    const signal = AbortSignal.any([this.#stop.signal, expired.signal]);
    try {
      await clock.sleep(Math.max(0, order.starts - clock.now()), { signal });
      void this.#expire(order, expired);
      const leave = await this.#turns.take(signal);
      try {
        const keepUntil = clock.now() + order.keep;
        for (const [index, image] of order.images.entries()) {
          const onProgress = (progress: ImageProgress): void => {
            taken.images[index] = progress;
          };
          const last = await images.run({
            image,
            platform: order.platform ?? platform,
            keepUntil,
            signal,
            onProgress,
          });
          taken.images[index] = last;
          onImage(order.id, image, last);
        }
      } finally {
        leave();
      }
    } catch {
      // The order has expired while it waited, or the node stops.
      const reason = 'the order has expired before its turn';
      for (const [index, { state }] of taken.images.entries()) {
        if (state === 'waiting') taken.images[index] = { ...WAITING, state: 'failed', reason };
      }
    } finally {
      taken.isOver = true;
      expired.abort(); // ends the clock of the expiry
    }
  }

  /** Never rejects. */
  async #expire({ expires }: PreheatOrder, expired: AbortController): Promise<void> {
    const { clock } = this.#options;
    const over = AbortSignal.any([this.#stop.signal, expired.signal]);
    await clock.sleep(Math.max(0, expires - clock.now()), { signal: over }).catch(() => undefined);
    expired.abort(new WeirError('aborted', 'the order has expired'));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new WeirError('aborted', 'the node stops'));
    await Promise.all(this.#running);
  }
}
