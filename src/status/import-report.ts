/** The form of what the admin address says about imports (`/v1/imports`), for both of its ends. */
import * as v from 'valibot';
import { tryParseDigest, type Digest } from '../oci/digest.ts';

/** The file in the data folder whose content `weir import` shows to the node. */
export const IMPORT_TOKEN = 'import.token';

export interface ImportReport {
  /** `docker.io/library/alpine:v1` */
  readonly name: string;
  readonly digest: Digest;
  /** Bytes of all blobs of the image. */
  readonly size: number;
  readonly blobs: number;
  /** RFC 3339. */
  readonly imported: string;
}

export interface ImportsReport {
  /** `access.trust-imported` */
  readonly trusted: boolean;
  readonly imports: readonly ImportReport[];
}

const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));

export const importsSchema: v.GenericSchema<unknown, ImportsReport> = v.object({
  trusted: v.boolean(),
  imports: v.array(
    v.object({
      name: v.string(),
      digest: v.custom<Digest>((value) => typeof value === 'string' && tryParseDigest(value) !== undefined),
      size: count,
      blobs: count,
      imported: v.string(),
    }),
  ),
});
