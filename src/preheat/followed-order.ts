/** An order at the node that gave it: how far each chosen node is, as far as they have said. Pure. */
import { SECOND } from '../util/clock.ts';
import { formatImageReference } from '../oci/reference.ts';
import { formatPlatform } from '../oci/platform.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import type { ImageProgress, MemberProgress, PreheatOrder } from '../protocol/preheat-messages.ts';
import {
  isOver,
  type NodeState,
  type OrderState,
  type PreheatNodeReport,
  type PreheatReport,
  type PreheatSummary,
} from '../status/preheat-report.ts';
import { formatNodeCount, type NodeCount } from './choose-nodes.ts';

export interface ChosenNode {
  readonly peer: PeerId;
  readonly name: string;
  readonly zone: string;
}

interface NodeProgress {
  readonly node: ChosenNode;
  images: readonly ImageProgress[];
  /** Why nothing more is asked of it. */
  failure: string | undefined;
  hasAnswered: boolean;
}

/** States of images that do not change any more. */
const FINAL: ReadonlySet<string> = new Set(['done', 'present', 'other-platform', 'no-room', 'failed']);

export interface FollowedOrderOptions {
  readonly order: PreheatOrder;
  readonly zone: string | undefined;
  readonly nodes: NodeCount;
  readonly chosen: readonly ChosenNode[];
}

export class FollowedOrder {
  readonly order: PreheatOrder;
  readonly #options: FollowedOrderOptions;
  readonly #nodes: ReadonlyMap<PeerId, NodeProgress>;

  constructor(options: FollowedOrderOptions) {
    this.order = options.order;
    this.#options = options;
    this.#nodes = new Map(
      options.chosen.map((node) => [node.peer, { node, images: [], failure: undefined, hasAnswered: false }]),
    );
  }

  /** Images of all chosen nodes together: the size of its report. */
  get entries(): number {
    return this.#nodes.size * this.order.images.length;
  }

  /** Nodes that are not over. */
  get open(): readonly PeerId[] {
    return [...this.#nodes.values()].filter((each) => !isFinal(each)).map(({ node }) => node.peer);
  }

  /** Whether all open nodes have taken the order. */
  get isSpread(): boolean {
    return this.#nodes.values().every((each) => each.hasAnswered || isFinal(each));
  }

  answered(peer: PeerId, progress: MemberProgress): void {
    const found = this.#nodes.get(peer);
    if (found === undefined) return;
    found.hasAnswered = true;
    if (progress.refused !== undefined) found.failure = progress.refused;
    else if (progress.images.length !== this.order.images.length) {
      found.failure = 'that node answered for another number of images';
    } else found.images = [...progress.images];
  }

  /** Nothing more is asked of it. */
  failed(peer: PeerId, reason: string): void {
    const found = this.#nodes.get(peer);
    if (found !== undefined && !isFinal(found)) found.failure = reason;
  }

  summary(now: number): PreheatSummary {
    const { order, zone, nodes } = this.#options;
    const states = [...this.#nodes.values()].map(stateOf);
    const count = (wanted: NodeState): number => states.filter((state) => state === wanted).length;
    return {
      id: order.id,
      state: this.#state(states, now),
      images: order.images.map(formatImageReference),
      ...(zone !== undefined && { zone }),
      nodes: formatNodeCount(nodes),
      ...(order.platform !== undefined && { platform: formatPlatform(order.platform) }),
      starts: new Date(order.starts).toISOString(),
      expires: new Date(order.expires).toISOString(),
      keep_seconds: order.keep / SECOND,
      chosen: states.length,
      done: count('done'),
      skipped: count('skipped'),
      failed: count('failed'),
    };
  }

  report(now: number): PreheatReport {
    const summary = this.summary(now);
    return { ...summary, members: [...this.#nodes.values()].map((each) => reportOf(each)) };
  }

  isOver(now: number): boolean {
    return isOver({ state: this.#state([...this.#nodes.values()].map(stateOf), now) });
  }

  #state(states: readonly NodeState[], now: number): OrderState {
    const isPending = states.some((state) => !['done', 'skipped', 'failed'].includes(state));
    if (isPending) return now < this.order.starts ? 'scheduled' : 'running';
    // Where no node has the platform, nothing was done: a wrong --platform must not look like success.
    const hasAll = states.every((state) => state !== 'failed') && states.includes('done');
    return hasAll ? 'done' : 'partial';
  }
}

function isFinal({ failure, images }: NodeProgress): boolean {
  return failure !== undefined || (images.length > 0 && images.every(({ state }) => FINAL.has(state)));
}

function stateOf(progress: NodeProgress): NodeState {
  const { failure, images, hasAnswered } = progress;
  if (failure !== undefined) return 'failed';
  if (!hasAnswered) return 'waiting';
  if (!isFinal(progress)) return images.every(({ state }) => state === 'waiting') ? 'accepted' : 'pulling';
  if (images.some(({ state }) => state === 'failed' || state === 'no-room')) return 'failed';
  return images.some(({ state }) => state === 'other-platform') ? 'skipped' : 'done';
}

function reportOf(progress: NodeProgress): PreheatNodeReport {
  const { node, failure, images } = progress;
  return {
    ...node,
    state: stateOf(progress),
    ...(failure !== undefined && { reason: failure }),
    images: images.map(({ state, reason, presentBytes, size }) => {
      const report = { state, present_bytes: presentBytes, size };
      return reason === '' ? report : Object.assign(report, { reason });
    }),
  };
}
