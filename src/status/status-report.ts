/**
 * The reports of a node at its admin address, as JSON: `GET /v1/status` and `GET /v1/peers`. The node makes them;
 * `weir status`, `weir peers` and the demo read them. docs/admin-api.md explains each field, and a test keeps page and
 * schemas equal. Fields may be added: readers ignore unknown ones.
 */
import * as v from 'valibot';
import { tryParseDigest, type Digest } from '../oci/digest.ts';
import { imageSchema, type ImageReport } from './pull-report.ts';
import { tryParsePeerId, type PeerId } from '../protocol/peer-id.ts';

/** Transfers in one report; running ones come first. Each may have a bitmap of some KiB. */
export const MAX_TRANSFERS = 64;

/** `keyed`: members have the cluster key; `open`: no key, anybody may join; `loopback`: this machine alone. */
export const CLUSTER_MODES = ['keyed', 'open', 'loopback', 'off'] as const;
export type ClusterMode = (typeof CLUSTER_MODES)[number];

export const TRANSFER_STATES = ['pulling', 'complete', 'failed'] as const;
export type TransferState = (typeof TRANSFER_STATES)[number];

export interface ClusterReport {
  readonly mode: ClusterMode;
  /** Live members, this node among them. */
  readonly members: number;
  /** libp2p connections. */
  readonly connections: number;
  /** Members by zone; the empty name stands for members without one. */
  readonly zones: Readonly<Record<string, number>>;
  /** Set while it is alone although `cluster.bootstrap` names others. */
  readonly alone?: AloneReport | undefined;
}

export interface AloneReport {
  /** Its class: `unresolved`, `refused`, `timeout`, `cluster-key`, … */
  readonly reason: string;
  /** The address that was tried, as it was configured. */
  readonly at: string;
  readonly problem: string;
  /** What to do. */
  readonly cure: string;
  /** Since it is alone. */
  readonly seconds: number;
}

export const STORE_STATES = ['normal', 'shrinking', 'stopped', 'unwritable'] as const;

/** Bytes. */
export interface StoreReport {
  /** Committed blobs. */
  readonly blobs: number;
  readonly bytes: number;
  /** Arriving blobs, and unfinished ones of earlier pulls. */
  readonly partial_bytes: number;
  readonly quota: number;
  readonly pins: number;
  readonly pinned_bytes: number;
  /** The file system of the data folder. */
  readonly disk_bytes: number;
  readonly disk_free_bytes: number;
  readonly state: (typeof STORE_STATES)[number];
}

export interface TransferReport {
  readonly digest: Digest;
  readonly registry: string;
  readonly repository: string;
  /** Bytes of the blob. */
  readonly size: number;
  readonly present_bytes: number;
  readonly chunks: number;
  readonly present_chunks: number;
  /** Base64 of the bitfield of present chunks, the first chunk in the highest bit of the first byte. */
  readonly bitmap: string;
  /** Base64 of the bitfield of chunks that came from upstream, if the node knows them. */
  readonly upstream_bitmap?: string | undefined;
  readonly state: TransferState;
  /** Since it began; if it has ended: the time that it took. */
  readonly seconds: number;
  /** Runtimes that are reading. */
  readonly readers: number;
  /** Peers in its swarm. */
  readonly peers: number;
  /** Bytes by their source; `local`: they were here when it began. */
  readonly sources: { readonly peers: number; readonly upstream: number; readonly local: number };
  readonly error?: string | undefined;
}

/** Bytes since the node started. */
export interface TotalsReport {
  readonly from_peers: number;
  /** Of these, from peers of another zone. */
  readonly from_other_zones: number;
  readonly from_upstream: number;
  readonly to_peers: number;
  readonly to_runtimes: number;
  /** Bytes handed to runtimes that did not come from upstream. */
  readonly saved: number;
}

/** Blobs that could not be stored since the node started, and passed through; by cause. A blob counts with each attempt. */
export interface UnstoredReport {
  readonly quota: number;
  readonly disk: number;
  readonly room: number;
  readonly unusable: number;
  readonly last?:
    | {
        readonly digest: Digest;
        readonly cause: string;
        readonly problem: string;
        /** RFC 3339. */
        readonly at: string;
      }
    | undefined;
}

export interface SuspicionReport {
  readonly reason: string;
  /** RFC 3339. */
  readonly until: string;
  readonly banned: boolean;
}

export interface SuspectReport extends SuspicionReport {
  readonly peer: PeerId;
  readonly name: string;
}

/** The configuration was read again. */
export interface ReloadReport {
  /** RFC 3339. */
  readonly at: string;
  /** Why nothing of it was taken. */
  readonly error?: string | undefined;
  /** Settings that have changed since the start, and take effect after a restart. */
  readonly waiting: readonly string[];
}

export interface StatusReport {
  readonly version: string;
  readonly name: string;
  readonly peer: PeerId;
  readonly zone: string;
  readonly uptime_seconds: number;
  /** The last time; missing if it was not since the start. */
  readonly reload?: ReloadReport | undefined;
  readonly cluster: ClusterReport;
  readonly store: StoreReport;
  /** Running ones, and those that ended in the last 10 minutes; at most {@link MAX_TRANSFERS}. */
  readonly transfers: readonly TransferReport[];
  readonly totals: TotalsReport;
  /** Left out by nodes of an earlier version. */
  readonly unstored?: UnstoredReport | undefined;
  readonly suspects: readonly SuspectReport[];
  /** The last images that brought bytes or failed, running ones first. */
  readonly images: readonly ImageReport[];
}

export interface PeerReport {
  readonly peer: PeerId;
  readonly name: string;
  readonly zone: string;
  readonly version: string;
  /** Multiaddrs of its libp2p node. */
  readonly addresses: readonly string[];
  /** Where it serves chunks: `10.0.0.7:4773`, `[fd00::7]:4773`. */
  readonly transfer_addresses: readonly string[];
  /** By libp2p, or on the peer wire. */
  readonly connected: boolean;
  /** Of the libp2p connection; `outbound`: this node opened it. */
  readonly direction?: 'inbound' | 'outbound' | undefined;
  readonly rtt_ms?: number | undefined;
  /** Swarms in which it is a peer of this node. */
  readonly swarms: number;
  /** Bytes that came from it and went to it. */
  readonly from_bytes: number;
  readonly to_bytes: number;
  readonly leaving: boolean;
  readonly suspect?: SuspicionReport | undefined;
}

export interface PeersReport {
  /** All known members except this node. */
  readonly peers: readonly PeerReport[];
}

const amount = v.pipe(v.number(), v.minValue(0));
const peer = v.custom<PeerId>((value) => typeof value === 'string' && tryParsePeerId(value) !== undefined);
const digest = v.custom<Digest>((value) => typeof value === 'string' && tryParseDigest(value) !== undefined);
const base64 = v.pipe(v.string(), v.regex(/^[A-Za-z0-9+/]*={0,2}$/));

const suspicion = { reason: v.string(), until: v.pipe(v.string(), v.isoTimestamp()), banned: v.boolean() };

const cluster = v.object({
  mode: v.picklist(CLUSTER_MODES),
  members: amount,
  connections: amount,
  zones: v.record(v.string(), amount),
  alone: v.optional(
    v.object({ reason: v.string(), at: v.string(), problem: v.string(), cure: v.string(), seconds: amount }),
  ),
});

export const storeEntries = {
  blobs: amount,
  bytes: amount,
  partial_bytes: amount,
  quota: amount,
  pins: amount,
  pinned_bytes: amount,
  disk_bytes: amount,
  disk_free_bytes: amount,
  state: v.picklist(STORE_STATES),
} satisfies v.ObjectEntries;

const transfer = v.object({
  digest,
  registry: v.string(),
  repository: v.string(),
  size: amount,
  present_bytes: amount,
  chunks: amount,
  present_chunks: amount,
  bitmap: base64,
  upstream_bitmap: v.optional(base64),
  state: v.picklist(TRANSFER_STATES),
  seconds: amount,
  readers: amount,
  peers: amount,
  sources: v.object({ peers: amount, upstream: amount, local: amount }),
  error: v.optional(v.string()),
});

const totals = v.object({
  from_peers: amount,
  from_other_zones: amount,
  from_upstream: amount,
  to_peers: amount,
  to_runtimes: amount,
  saved: amount,
});

const unstored = v.object({
  quota: amount,
  disk: amount,
  room: amount,
  unusable: amount,
  last: v.optional(
    v.object({
      digest,
      cause: v.string(),
      problem: v.string(),
      at: v.pipe(v.string(), v.isoTimestamp()),
    }),
  ),
});

export const statusSchema: v.GenericSchema<unknown, StatusReport> = v.object({
  version: v.string(),
  name: v.string(),
  peer,
  zone: v.string(),
  uptime_seconds: amount,
  reload: v.optional(
    v.object({
      at: v.pipe(v.string(), v.isoTimestamp()),
      error: v.optional(v.string()),
      waiting: v.array(v.string()),
    }),
  ),
  cluster,
  store: v.object(storeEntries),
  transfers: v.array(transfer),
  totals,
  unstored: v.optional(unstored),
  suspects: v.array(v.object({ peer, name: v.string(), ...suspicion })),
  images: v.array(imageSchema),
});

export const peersSchema: v.GenericSchema<unknown, PeersReport> = v.object({
  peers: v.array(
    v.object({
      peer,
      name: v.string(),
      zone: v.string(),
      version: v.string(),
      addresses: v.array(v.string()),
      transfer_addresses: v.array(v.string()),
      connected: v.boolean(),
      direction: v.optional(v.picklist(['inbound', 'outbound'])),
      rtt_ms: v.optional(amount),
      swarms: amount,
      from_bytes: amount,
      to_bytes: amount,
      leaving: v.boolean(),
      suspect: v.optional(v.object(suspicion)),
    }),
  ),
});

/** Whether chunk `index` is set in a bitmap of a {@link TransferReport}, decoded. */
export function hasChunk(bits: Uint8Array, index: number): boolean {
  return ((bits[index >> 3] ?? 0) & (0x80 >> (index & 7))) !== 0;
}
