/**
 * The numbers of the swarm policy (docs/protocol.md, "Policy"). They were chosen by simulation of whole transfers;
 * one changed alone can cost more than it seems to win, so measure with `npm run bench` before and after.
 */
import { MILLISECOND, SECOND } from '../util/clock.ts';

export interface Parameters {
  /** Pieces that one node sends at a time. */
  readonly uploadSlots: number;
  /** Askers that wait for a slot; more are told `busy`. */
  readonly uploadQueue: number;
  /** Pieces that one node asks peers for at a time. Above slots + queue it becomes a storm of retries. */
  readonly requests: number;
  /** As few as it goes down to where pieces take long. */
  readonly requestsLeast: number;
  /** Milliseconds of a piece: below the first the node asks for more at a time, above the second for fewer. */
  readonly pieceTime: readonly [number, number];
  /** Chunks that have not entered the cluster and are fetched from the registry at a time, by all together. */
  readonly originWindow: number;
  /** As few as one of several blobs has of them. */
  readonly originWindowLeast: number;
  /** As far as the window may grow where the registry limits each connection. */
  readonly originWindowMax: number;
  /**
   * Chunks that one home fetches at a time, as a multiple of its even part of the window, and at least: what it is
   * asked for beyond that it leaves to the asker. A home with a slow link would keep everybody waiting.
   */
  readonly homeFetches: readonly [number, number];
  /** Askers that a home keeps waiting for a chunk that is on its way. */
  readonly homeQueue: number;
  /** Members that may ask a chunk's home for it while the swarm gets on; the others wait until a neighbour has it. */
  readonly homeAskers: number;
  /** Milliseconds without progress after which a node acts as if there were twice as many; and so on. */
  readonly homePatience: number;
  /** Neighbours that a node looks for, and how many it puts up with. */
  readonly links: number;
  readonly linksMax: number;
  /** Share of neighbours that should be of the same zone. */
  readonly sameZone: number;
  /** How often the first missing chunk is taken instead of the rarest: a runtime reads from the front. */
  readonly inOrder: number;
  /**
   * Milliseconds within which the asked one must say that it has the request in hand; at least, before anything is
   * known of how long that takes here, and at most.
   */
  readonly ack: readonly [number, number, number];
  /** The same at the first contact, and while a connection is being made. */
  readonly firstContact: number;
  /**
   * Milliseconds without a byte after which the other side counts as stalled; as for `ack`. Two of TCP's retransmission
   * time-outs in a row take 600 ms.
   */
  readonly stall: readonly [number, number, number];
  /** Milliseconds after which a chunk from the registry that lags far behind the others is begun anew, at least. */
  readonly lag: number;
  /**
   * Milliseconds after which some go to the registry for the first chunk, although others are at it: a runtime waits for
   * its first byte, and not much longer.
   */
  readonly firstChunk: number;
  /** Milliseconds for which a peer that was silent or stalled once is not asked; doubled each time in a row. */
  readonly aside: number;
  /** How often in a row makes it a suspect. */
  readonly slack: number;
  /** Milliseconds that an acknowledged request may wait for its first byte. */
  readonly queued: number;
  /** Milliseconds after which the next home in rank takes over, per rank. */
  readonly takeover: number;
  /** Milliseconds without any progress after which homes are asked four at a time. */
  readonly noProgress: number;
  /** Milliseconds without any progress after which the node goes to the registry itself; at least and at most. */
  readonly rescue: readonly [number, number];
  /** Milliseconds after which one of the last chunks is asked of a second peer, at least. */
  readonly hedge: number;
  /** The same as a multiple of what a transfer usually takes: half of all take longer than that. */
  readonly late: number;
  /** A transfer that has lasted so many times longer than usual is asked of a second peer, too. */
  readonly slow: number;
  /** Milliseconds within which news for neighbours is sent together: at least, and where pieces take long, at most. */
  readonly batch: readonly [number, number];
  /** The same as a share of the usual time of a piece: on a slow link nobody waits for news. */
  readonly batchShare: number;
  /** Least and most milliseconds after a `busy`. */
  readonly busy: readonly [number, number];
  /**
   * What is added to that, as a share of the usual time of a piece, more or less by half: it is the time until a slot
   * is free, and whoever asks more often on a slow link is told `busy` a dozen times for each piece.
   */
  readonly busyShare: number;
  /** Least and most milliseconds after a `retry` of a home. */
  readonly retry: readonly [number, number];
  /** Least and most milliseconds after the registry said 429 or 5xx. */
  readonly originRetry: readonly [number, number];
  /** Chunks that a node alone in its swarm fetches with one request to the registry. */
  readonly soloExtent: number;
  /** Members that keep the list of who is in a swarm. */
  readonly rendezvous: number;
}

export const PARAMETERS: Parameters = {
  uploadSlots: 6,
  uploadQueue: 1,
  requests: 7,
  requestsLeast: 2,
  pieceTime: [1 * SECOND, 2 * SECOND],
  originWindow: 12,
  originWindowLeast: 4,
  originWindowMax: 64,
  homeFetches: [2, 3],
  homeQueue: 16,
  homeAskers: 24,
  homePatience: 250 * MILLISECOND,
  links: 10,
  linksMax: 32,
  sameZone: 0.75,
  inOrder: 0.25,
  ack: [250 * MILLISECOND, 1 * SECOND, 5 * SECOND],
  firstContact: 2 * SECOND,
  stall: [1 * SECOND, 1.5 * SECOND, 2.5 * SECOND],
  lag: 3 * SECOND,
  firstChunk: 8 * SECOND,
  aside: 1 * SECOND,
  slack: 3,
  queued: 2 * SECOND,
  takeover: 500 * MILLISECOND,
  noProgress: 1 * SECOND,
  rescue: [1.5 * SECOND, 2.5 * SECOND],
  hedge: 300 * MILLISECOND,
  late: 2,
  slow: 4,
  batch: [20 * MILLISECOND, 640 * MILLISECOND],
  batchShare: 1 / 4,
  busy: [10, 30],
  busyShare: 0.5,
  retry: [50, 150],
  originRetry: [500, 1500],
  soloExtent: 16,
  rendezvous: 2,
};
