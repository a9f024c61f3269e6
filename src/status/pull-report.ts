/**
 * The report of pulls at a node's admin address: `GET /v1/pulls`. The node makes it; `weir pulls` and `weir pull` read it.
 * docs/admin-api.md explains each field, and a test keeps page and schema equal.
 */
import * as v from 'valibot';
import { tryParseDigest, type Digest } from '../oci/digest.ts';
import { tryParsePeerId, type PeerId } from '../protocol/peer-id.ts';
import { WAIT_CAUSES, type WaitSeconds } from '../util/waits.ts';

/** Pulls that a node remembers. */
export const MAX_PULLS = 1_000;
/** Blobs of one pull that are listed; images have a few dozen. Further ones count in the sums. */
export const MAX_BLOBS_PER_PULL = 256;
/** Peers that are named of a blob, or of a pull. */
export const TOP_PEERS = 3;

export const PULL_OUTCOMES = [
  'complete',
  'failed',
  /** The registry's bytes went to the runtime unstored. */
  'passed_through',
  /** The runtime was sent to the registry. */
  'handed_over',
  'client_left',
] as const;
export type PullOutcome = (typeof PULL_OUTCOMES)[number];
export type PullState = PullOutcome | 'pulling';

/** Bytes that the runtime got, by where they came from. */
export interface SourcesReport {
  readonly store: number;
  readonly peers: number;
  readonly registry: number;
}

export interface PullPeerReport {
  readonly peer: PeerId;
  readonly name: string;
  readonly bytes: number;
}

interface Account {
  readonly digest?: Digest | undefined;
  readonly state: PullState;
  /** Of the failure. */
  readonly code?: string | undefined;
  readonly seconds: number;
  /** Undefined if there was none. */
  readonly first_byte_seconds?: number | undefined;
  readonly bytes: number;
  readonly sources: SourcesReport;
  /** At most {@link TOP_PEERS}, the one that sent the most first. */
  readonly peers: readonly PullPeerReport[];
  readonly waits: WaitSeconds;
}

export interface BlobPullReport extends Account {
  readonly digest: Digest;
  /** Bytes of the blob, if they are known. */
  readonly size?: number | undefined;
  readonly requests: number;
}

/** An image, as one client pulled it. */
export interface PullReport extends Account {
  /** `docker.io/library/alpine:3.20`, `…@sha256:…`; the repository alone if its manifest was not asked for here. */
  readonly image: string;
  /** The name of the runtime, from its User-Agent. */
  readonly client: string;
  /** RFC 3339. */
  readonly began: string;
  /** Of all requests for its tag and its manifests. */
  readonly manifest_seconds: number;
  readonly blobs: readonly BlobPullReport[];
  /** Blobs that are not listed. */
  readonly more_blobs: number;
}

export interface PullsReport {
  /** Running ones first, then those that ended, the latest first. */
  readonly pulls: readonly PullReport[];
}

/** One of the last images, for `/v1/status`. */
export type ImageReport = Pick<PullReport, 'image' | 'state' | 'began' | 'seconds' | 'bytes' | 'sources'>;

const amount = v.pipe(v.number(), v.minValue(0));
const digest = v.custom<Digest>((value) => typeof value === 'string' && tryParseDigest(value) !== undefined);
const peer = v.custom<PeerId>((value) => typeof value === 'string' && tryParsePeerId(value) !== undefined);
const state = v.picklist(['pulling', ...PULL_OUTCOMES]);
const began = v.pipe(v.string(), v.isoTimestamp());
const sources = v.object({ store: amount, peers: amount, registry: amount });
const waits = v.object(
  Object.fromEntries(WAIT_CAUSES.map((cause) => [cause, amount])) as Record<
    (typeof WAIT_CAUSES)[number],
    typeof amount
  >,
);

const account = {
  state,
  code: v.optional(v.string()),
  seconds: amount,
  first_byte_seconds: v.optional(amount),
  bytes: amount,
  sources,
  peers: v.array(v.object({ peer, name: v.string(), bytes: amount })),
  waits,
};

export const pullsSchema: v.GenericSchema<unknown, PullsReport> = v.object({
  pulls: v.array(
    v.object({
      image: v.string(),
      digest: v.optional(digest),
      client: v.string(),
      began,
      ...account,
      manifest_seconds: amount,
      blobs: v.array(v.object({ digest, size: v.optional(amount), requests: amount, ...account })),
      more_blobs: amount,
    }),
  ),
});

/** Of `images` in `/v1/status`. */
export const imageSchema: v.GenericSchema<unknown, ImageReport> = v.object({
  image: v.string(),
  state,
  began,
  seconds: amount,
  bytes: amount,
  sources,
});
