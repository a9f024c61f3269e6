/**
 * What the admin address tells of the store, and answers to changes, as JSON (docs/admin-api.md). The node makes the reports;
 * `weir store` reads them.
 */
import * as v from 'valibot';
import { tryParseDigest, type Digest } from '../oci/digest.ts';
import { storeEntries, type StoreReport } from './status-report.ts';

/** Blobs in one listing: at some 300 bytes each it stays below what a reader takes. */
export const MAX_LISTED = 20_000;

export const STORE_ORDERS = ['last-use', 'size', 'digest'] as const;
export type StoreOrder = (typeof STORE_ORDERS)[number];

export interface StoredBlobReport {
  readonly digest: Digest;
  readonly size: number;
  /** RFC 3339. */
  readonly last_used: string;
  readonly in_use: boolean;
  readonly pinned: boolean;
  /** RFC 3339; undefined if this process has not found the whole blob right yet. */
  readonly verified?: string | undefined;
  /** Undefined if no manifest or tag tells. */
  readonly kind?: 'manifest' | 'blob' | undefined;
  /** A few of the repositories that it came from. */
  readonly repositories: readonly string[];
}

export interface StoreListing {
  readonly store: StoreReport;
  readonly blobs: readonly StoredBlobReport[];
}

/** The answer to a pin, or its removal. */
export interface PinReport {
  /** Blobs that are pinned now, or that were until now. */
  readonly digests: readonly Digest[];
  /** Bytes of pinned blobs. */
  readonly bytes: number;
  /** Blobs of the image that are not in the store, so that they cannot be pinned. */
  readonly absent: number;
  readonly store: StoreReport;
}

/** The answer to a removal. */
export interface FreedReport {
  /** Blobs, and unfinished ones, that are gone. */
  readonly removed: number;
  readonly freed_bytes: number;
  readonly store: StoreReport;
}

const amount = v.pipe(v.number(), v.minValue(0));
const digest = v.custom<Digest>((value) => typeof value === 'string' && tryParseDigest(value) !== undefined);
const time = v.pipe(v.string(), v.isoTimestamp());
const store = v.object(storeEntries);

export const listingSchema: v.GenericSchema<unknown, StoreListing> = v.object({
  store,
  blobs: v.array(
    v.object({
      digest,
      size: amount,
      last_used: time,
      in_use: v.boolean(),
      pinned: v.boolean(),
      verified: v.optional(time),
      kind: v.optional(v.picklist(['manifest', 'blob'])),
      repositories: v.array(v.string()),
    }),
  ),
});

export const pinSchema: v.GenericSchema<unknown, PinReport> = v.object({
  digests: v.array(digest),
  bytes: amount,
  absent: amount,
  store,
});

export const freedSchema: v.GenericSchema<unknown, FreedReport> = v.object({
  removed: amount,
  freed_bytes: amount,
  store,
});
