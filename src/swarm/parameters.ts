/**
 * Every number of the swarm policy: what it bounds, in which unit, and why it has that value. The README.md beside this
 * file has them in one table (a unit test compares the two), and says how they work together.
 *
 * {@link Parameters} can be varied in a simulation (`npm run bench -- simulate --policy`); they were chosen by
 * simulating whole transfers. The constants below them are bounds and factors that no simulation varies. One number
 * changed alone can cost more than it seems to win, so measure with `npm run bench` before and after.
 *
 * Times are milliseconds, in the scheduler's time. A pair is the least and the most.
 */
import { HOUR, KIB, MILLISECOND, MINUTE, SECOND } from '../util/clock.ts';

export interface Parameters {
  // Uploads (uploader.ts)

  /** Chunks that one node sends at a time. */
  readonly uploadSlots: number;
  /** Requests that wait for an upload slot. Further ones are told `busy`. */
  readonly uploadQueue: number;

  // Requests to peers (request-window.ts, chunk-requester.ts)

  /** Chunks that one node asks peers for at a time. Above slots + queue it becomes a storm of retries. */
  readonly requestsMax: number;
  /** The least that the request window shrinks to if chunks take long. */
  readonly requestsMin: number;
  /** Milliseconds that a chunk takes: below the first the request window grows, above the second it shrinks. */
  readonly chunkTimeRange: readonly [number, number];
  /** How often the first missing chunk is taken instead of the rarest one: a runtime reads from the front. */
  readonly inOrderShare: number;
  /**
   * Milliseconds within which a peer must acknowledge a request: at least, before the first measurement, and at most
   * (rtt-estimator.ts).
   */
  readonly ackTimeout: readonly [number, number, number];
  /** The same at the first contact, and while a connection is being made. */
  readonly firstContactTimeout: number;
  /**
   * Milliseconds without a byte after which a transfer counts as stalled; as for `ackTimeout`. Two of TCP's
   * retransmission time-outs in a row take 600 ms.
   */
  readonly stallTimeout: readonly [number, number, number];
  /** Milliseconds that an acknowledged request may wait for its first byte. */
  readonly queueTimeout: number;
  /** Milliseconds that a peer is not asked after it was silent or stalled once; doubled each time in a row. */
  readonly firstBackoff: number;
  /** Strikes in a row that make a peer a suspect. */
  readonly strikesToSuspect: number;
  /** Milliseconds that a peer is not asked after it said `busy`. */
  readonly busyBackoff: readonly [number, number];
  /**
   * The share of the usual time of a chunk that is added, plus or minus a half. It is the time until a slot
   * is free: on a slow link a node that asks more often is told `busy` a dozen times for each chunk.
   */
  readonly busyBackoffShare: number;

  // Second requests (hedger.ts)

  /**
   * Milliseconds after which a request is asked of a second source: at least, before the first measurement, and at most
   * (rtt-estimator.ts).
   */
  readonly hedgeAfter: readonly [number, number, number];

  // Peers and trackers (peer-connector.ts, tracker.ts)

  /** Peers that a node looks for. */
  readonly peersWanted: number;
  /** Peers that it accepts. */
  readonly peersMax: number;
  /** Share of peers that should be of the same zone. */
  readonly sameZoneShare: number;
  /** Milliseconds that each further member of a zone leaves a chunk of another zone to the one before: at least, at most. */
  readonly zonePatience: readonly [number, number];
  /** The same as a multiple of what a transfer usually takes. */
  readonly zonePatienceFactor: number;
  /** Members that keep the peer list of a swarm. */
  readonly trackers: number;
  /** Milliseconds within which news for peers is sent together: at least, and if chunks take long, at most. */
  readonly batchInterval: readonly [number, number];
  /** The same as a share of the usual time of a chunk: on a slow link nobody waits for news. */
  readonly batchShare: number;

  // Owners and claims (chunk-owners.ts, owner-picker.ts, claims.ts)

  /**
   * Chunks that one owner fetches at a time: as a multiple of its even part of the upstream window, and at least. It
   * leaves further ones to the node that asks. An owner with a slow link would keep everybody waiting.
   */
  readonly ownerFetches: readonly [number, number];
  /** Requests that an owner keeps waiting for a chunk that is on its way. */
  readonly ownerQueue: number;
  /** Members that may ask an owner for its chunk while the swarm makes progress. Others wait until a peer has it. */
  readonly ownerAskers: number;
  /** Milliseconds without progress after which twice as many members may ask, or fetch on a stall; and so on. */
  readonly ownerPatience: number;
  /** Milliseconds until an owner that said `retry` is asked again. */
  readonly retryBackoff: readonly [number, number];

  // Upstream (upstream-fetcher.ts, upstream-requests.ts, adaptive-window.ts)

  /** Chunks that nobody has attested and that all members together fetch from upstream at a time. */
  readonly upstreamWindow: number;
  /** The least that one of several blobs has of them. */
  readonly upstreamWindowMin: number;
  /** The most that the window grows to if the registry limits each connection. */
  readonly upstreamWindowMax: number;
  /** Milliseconds after which a chunk from upstream that lags behind the usual time is begun anew, at least. */
  readonly upstreamStallMin: number;
  /** Milliseconds until a request that the registry answered with 429 or 5xx is repeated. */
  readonly upstreamRetryBackoff: readonly [number, number];
  /** Chunks that a node that is alone in its swarm fetches with one upstream request. */
  readonly soloFetchGroup: number;
  /** Milliseconds without progress after which a node asks owners for several chunks at a time. */
  readonly stallToUrgent: number;
  /** Milliseconds without progress after which a node fetches from upstream itself. */
  readonly stallToUpstream: readonly [number, number];
}

export const PARAMETERS: Parameters = {
  uploadSlots: 6,
  uploadQueue: 1,
  requestsMax: 7,
  requestsMin: 2,
  chunkTimeRange: [1 * SECOND, 2 * SECOND],
  upstreamWindow: 12,
  upstreamWindowMin: 4,
  upstreamWindowMax: 64,
  ownerFetches: [2, 3],
  ownerQueue: 16,
  ownerAskers: 24,
  ownerPatience: 250 * MILLISECOND,
  peersWanted: 10,
  peersMax: 32,
  sameZoneShare: 0.75,
  zonePatience: [150 * MILLISECOND, 5 * SECOND],
  zonePatienceFactor: 2,
  inOrderShare: 0.25,
  ackTimeout: [250 * MILLISECOND, 1 * SECOND, 5 * SECOND],
  firstContactTimeout: 2 * SECOND,
  stallTimeout: [1 * SECOND, 1.5 * SECOND, 2.5 * SECOND],
  upstreamStallMin: 3 * SECOND,
  firstBackoff: 1 * SECOND,
  strikesToSuspect: 3,
  queueTimeout: 2 * SECOND,
  stallToUrgent: 1 * SECOND,
  stallToUpstream: [1.5 * SECOND, 2.5 * SECOND],
  hedgeAfter: [300 * MILLISECOND, 1 * SECOND, MINUTE],
  batchInterval: [20 * MILLISECOND, 640 * MILLISECOND],
  batchShare: 1 / 4,
  busyBackoff: [10 * MILLISECOND, 30 * MILLISECOND],
  busyBackoffShare: 0.5,
  retryBackoff: [50 * MILLISECOND, 150 * MILLISECOND],
  upstreamRetryBackoff: [500 * MILLISECOND, 1500 * MILLISECOND],
  soloFetchGroup: 64,
  trackers: 2,
};

// Peers and trackers

/** Milliseconds that a node waits for peers before it counts as alone: many nodes begin at the same moment. */
export const ALONE_AFTER = 50 * MILLISECOND;
/** The same while its tracker has not replied: at least, and at most if replies take long here. */
export const TRACKER_TIMEOUT_MIN = 400 * MILLISECOND;
export const TRACKER_TIMEOUT_MAX = 1.5 * SECOND;
/** How often other trackers are asked if none of them replies. */
export const MAX_TRACKER_RETRIES = 2;
/** Usual acknowledgement times that a reply takes: two ways and, at first, a TLS handshake. */
export const TRACKER_TIMEOUT_ACKS = 2;
/** Milliseconds in which a peer must answer a handshake. */
export const HANDSHAKE_TIMEOUT = 1 * SECOND;
/** Milliseconds between two announces: while peers are missing, and once there are enough. */
export const ANNOUNCE_INTERVAL_MIN = 1 * SECOND;
export const ANNOUNCE_INTERVAL_MAX = 10 * SECOND;
/** Milliseconds after the last peer was lost in which a node does not count as alone: it may be cut off. */
export const ALONE_AFTER_LAST_PEER = 5 * SECOND;
/** A tracker that names so many peers or fewer is not enough. */
export const FEW_PEERS_NAMED = 4;
/** Peers that are chosen because they have the whole blob: a swarm must not depend on its seeds alone. */
export const MAX_SEED_PEERS = 3;
/** A peer of another zone counts as so many times busier than it says: as the last resort, while one of the own zone is free. */
export const OTHER_ZONE_LOAD_FACTOR = 16;
/** Peers of a swarm that a tracker tells of each new one. */
export const NEW_MEMBER_TOLD = 4;
/** Members on one tracker's list of a swarm, on average, if all pull at once. */
export const MEMBERS_PER_TRACKER = 50;
/** Members of which one is the tracker of a blob for a group of askers: blobs spread over them. */
export const TRACKERS_PER_GROUP = 2;
/** Each further level has so many times fewer trackers. */
export const TRACKER_LEVEL_FACTOR = 4;
/** Swarms that a tracker keeps. At some 100 bytes a member, all full, they take 100 MiB; in practice 1 MiB. */
export const MAX_TRACKED_SWARMS = 2048;
/** Swarms in which one member is kept, a quarter of all: a member that announces more drops its own entries first. */
export const MAX_TRACKED_SWARMS_PER_MEMBER = 512;
/** Members that a tracker keeps of one swarm: more than any node needs to find its peers. */
export const MAX_TRACKED_PEERS = 512;
/** Milliseconds after which a member that has not announced itself again is forgotten. */
export const TRACKED_PEER_EXPIRY = 10 * MINUTE;
/** Members of a cluster in which a tracker asks all for a blob whose swarm is new to it. */
export const ASK_ALL_MEMBERS = 16;
/** DHT searches under way for one member: half of all (network/provider-search.ts), so an image's layers take turns. */
export const MAX_SEARCHES_PER_MEMBER = 8;
/** Swarms that wait for their DHT search. */
export const MAX_PENDING_SEARCHES = 2048;

// Owners and claims

/** Members that own the chunks of one blob, at least: each fetches as much as its link allows. */
export const OWNERS_MIN = 16;
/** The same as a share of all members: in a large cluster more nodes pull, and ask. */
export const OWNERS_SHARE = 1 / 8;
/** The owner of a chunk and its two backup owners. */
export const OWNER_RANKS = 3;
/** Chunks whose claimant an owner remembers. */
export const MAX_CLAIMS = 16_384;
/** Milliseconds that a claim lasts unless it is renewed, which happens in half the time while bytes come. */
export const CLAIM_TIMEOUT = 5 * SECOND;
/** Milliseconds after which a claim that has brought no chunk is granted to one more member: a runtime waits for it. */
export const CLAIM_OVERDUE = 8 * SECOND;
/** Milliseconds that others are sent to the claimant that has the chunk: its store may drop the blob later. */
export const CLAIM_DONE_HOLDS = 10 * MINUTE;

/** Chunks that an owner fetches with one request once the registry throttles, and if it still does. */
export const THROTTLED_FETCH_GROUPS = [8, 16] as const;
/** Registries that are remembered to answer a Range with the whole blob, and the milliseconds for which they are. */
export const MAX_WHOLE_REGISTRIES = 1000;
export const WHOLE_REGISTRY_HOLDS = 1 * HOUR;

// Upstream

/** The first missing chunks, which are fetched from upstream while nothing else makes progress. */
export const STALLED_UPSTREAM_REQUESTS = 2;
/** Usual acknowledgement times that a stall lasts at least: if answers take long, a pause means little. */
export const STALL_ACKS = 3;
/** Milliseconds that claims of others count as progress. After that a node wants bytes, whatever others say. */
export const CLAIMS_WITHOUT_BYTES_HOLD = 15 * SECOND;
/** Upstream requests side by side of a node that is alone: one begins while another ends. */
export const SOLO_UPSTREAM_REQUESTS = 2;
/** Failures in a row after which upstream is given up, unless bytes come from elsewhere. */
export const MAX_UPSTREAM_FAILURES = 5;
/** Milliseconds without a byte after which an upstream request counts as hung, for this node and for others. */
export const UPSTREAM_HUNG_AFTER = 5 * SECOND;
/**
 * Milliseconds without a byte after which a node gives up that has no way to the registry, nor to a member that has the chunks:
 * its own link is gone, and its runtime, which would sit it out by itself, can do no better.
 */
export const NO_ROUTE_PATIENCE = 30 * SECOND;
/** Milliseconds for which it counts as cut off after the last request that found no way. */
export const NO_ROUTE_HOLDS = 10 * SECOND;
/** Chunks whose arrival makes one measurement of the upstream window: two windows of the usual size. */
export const WINDOW_SAMPLE_CHUNKS = 24;
/** Factor by which the upstream window grows. */
export const WINDOW_GROWTH = 1.5;
/** Gain in the rate that a growth must bring to be kept. */
export const WINDOW_WORTHWHILE_GAIN = 1.15;

// Requests to peers

/** Requests to owners side by side while nothing makes progress. */
export const URGENT_OWNER_REQUESTS = 4;
/**
 * Bytes per second below which a transfer counts as stalled although bytes come: a peer that sends a byte now and then
 * would hold up all nodes that have no other source. A third of what the lowest `--max-upload` leaves to a slot.
 */
export const MIN_TRANSFER_RATE = 16 * KIB;
/** Milliseconds after the first byte in which the rate is not looked at. */
export const TRANSFER_RATE_GRACE = 2 * SECOND;
/** Second requests beyond the request window. */
export const MAX_EXTRA_HEDGES = 2;
/** By how much one transfer moves the request window. */
export const REQUEST_WINDOW_STEP = 0.5;
/** Weights of the newest value in the mean and in its variation, and variations in a limit (RFC 6298, section 2). */
export const RTT_GAIN = 1 / 8;
export const RTT_VARIATION_GAIN = 1 / 4;
export const RTT_VARIATIONS = 4;
/** Holders that an answer names. */
export const MAX_HOLDERS_NAMED = 3;

// What is held against peers

/** Factor by which the backoff of a snubbed peer grows, and its longest in milliseconds. */
export const BACKOFF_GROWTH = 4;
export const BACKOFF_MAX = 16 * SECOND;
/** Milliseconds in which a peer whose pull has failed must say so: its `bye` leaves at once and needs one way. */
export const MISSING_NOTICE_TIMEOUT = 1 * SECOND;
/** Missing chunks that are looked into at a time. Further ones are held against nobody. */
export const MAX_MISSING_CHUNKS = 1024;
/** Milliseconds that a registry and a member lose each other: as long as a ban. */
export const DISTRUST_LASTS = HOUR;
/** Pairs of a registry and a member; about 200 bytes each. */
export const MAX_DISTRUSTED_PAIRS = 8192;
/** Contested attestations that are kept of one blob; some 250 bytes each. */
export const MAX_CONTESTED_ATTESTATIONS = 512;

// Time

/** Milliseconds between two looks at the time limits: a fraction of the shortest one. */
export const TICK_INTERVAL = 100 * MILLISECOND;
/** A timer that fires so many milliseconds late shows that the process did not run. */
export const LATE_TIMER = 50 * MILLISECOND;
