/** Limits on the rate of what goes to members and comes from them: one number of a rate for all workers together. */
import type { Clock } from '../util/clock.ts';
import { limitedBy, TokenBucket, type RateLimit } from '../util/token-bucket.ts';

/** Bytes per second; undefined: no limit. */
export interface PeerRates {
  /** Over all members. */
  readonly maxDownload?: number | undefined;
  readonly maxUpload?: number | undefined;
  /** Over all members of other zones, in each direction. */
  readonly maxCrossZone?: number | undefined;
}

/** The memory of each limit (util/token-bucket.ts). */
export interface SharedLimits {
  readonly download: SharedArrayBuffer;
  readonly upload: SharedArrayBuffer;
  readonly fromOtherZones: SharedArrayBuffer;
  readonly toOtherZones: SharedArrayBuffer;
}

/** What counts the bytes of one connection. */
export interface ConnectionLimits {
  readonly download: RateLimit;
  readonly upload: RateLimit;
}

/** By whether the member is of another zone. */
export type LimitsOf = (isOtherZone: boolean) => ConnectionLimits;

export function shareLimits(rates: PeerRates): SharedLimits {
  const limits = {
    download: TokenBucket.memory(),
    upload: TokenBucket.memory(),
    fromOtherZones: TokenBucket.memory(),
    toOtherZones: TokenBucket.memory(),
  };
  setLimits(limits, rates);
  return limits;
}

/** Takes effect in all workers at once. */
export function setLimits(limits: SharedLimits, { maxDownload, maxUpload, maxCrossZone }: PeerRates): void {
  TokenBucket.setRate(limits.download, maxDownload);
  TokenBucket.setRate(limits.upload, maxUpload);
  TokenBucket.setRate(limits.fromOtherZones, maxCrossZone);
  TokenBucket.setRate(limits.toOtherZones, maxCrossZone);
}

export function limitsOf(limits: SharedLimits, clock: Clock): LimitsOf {
  const bucket = (memory: SharedArrayBuffer): TokenBucket => new TokenBucket(memory, clock);
  const [download, upload] = [bucket(limits.download), bucket(limits.upload)];
  const same = { download, upload };
  const other = {
    download: limitedBy([download, bucket(limits.fromOtherZones)], clock),
    upload: limitedBy([upload, bucket(limits.toOtherZones)], clock),
  };
  return (isOtherZone) => (isOtherZone ? other : same);
}
