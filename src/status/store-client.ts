/** Asks a node's admin address for its store, and changes it. Used by `weir store`. */
import type * as v from 'valibot';
import type { Digest } from '../oci/digest.ts';
import { MINUTE } from '../util/clock.ts';
import type { AdminClient } from './admin-client.ts';
import {
  freedSchema,
  listingSchema,
  pinSchema,
  type FreedReport,
  type PinReport,
  type StoreListing,
  type StoreOrder,
} from './store-report.ts';

/** Milliseconds: thousands of files may have to be removed before the answer begins. */
const CHANGE_TIMEOUT = 5 * MINUTE;

/** A blob, or all blobs of an image (its whole reference). */
export type PinTarget = { readonly digest: Digest } | { readonly image: string };

export class StoreClient {
  readonly #admin: AdminClient;
  readonly #token: string | undefined;
  readonly #signal: AbortSignal;

  /** @param token that of the node's `admin.token-file`; without it the node refuses changes, and says why */
  constructor(admin: AdminClient, token: string | undefined, signal: AbortSignal) {
    this.#admin = admin;
    this.#token = token;
    this.#signal = signal;
  }

  /** @throws WeirError as AdminClient.ask */
  list(order: StoreOrder, limit: number): Promise<StoreListing> {
    return this.#admin.ask(`/v1/store?sort=${order}&limit=${limit}`, listingSchema, {
      mayFail: true,
      signal: this.#signal,
    });
  }

  /** @throws WeirError as AdminClient.ask */
  remove(digest: Digest, force: boolean): Promise<FreedReport> {
    return this.#change('DELETE', `/v1/store/${digest}${force ? '?force=true' : ''}`, freedSchema);
  }

  /** @throws WeirError as AdminClient.ask */
  pin(target: PinTarget): Promise<PinReport> {
    return this.#change('PUT', pinPath(target), pinSchema);
  }

  /** @throws WeirError as AdminClient.ask */
  unpin(target: PinTarget): Promise<PinReport> {
    return this.#change('DELETE', pinPath(target), pinSchema);
  }

  /** Evicts down to so many bytes. @throws WeirError as AdminClient.ask */
  shrinkTo(bytes: number): Promise<FreedReport> {
    return this.#change('POST', `/v1/store/gc?to_bytes=${bytes}`, freedSchema);
  }

  /** Evicts what was not used for so many milliseconds. @throws WeirError as AdminClient.ask */
  evictUnused(duration: number): Promise<FreedReport> {
    return this.#change('POST', `/v1/store/gc?unused_seconds=${Math.ceil(duration / 1000)}`, freedSchema);
  }

  #change<T>(
    method: 'PUT' | 'POST' | 'DELETE',
    path: string,
    schema: v.GenericSchema<unknown, T>,
  ): Promise<T> {
    const options = {
      method,
      mayFail: true,
      token: this.#token,
      timeout: CHANGE_TIMEOUT,
      signal: this.#signal,
    };
    return this.#admin.ask(path, schema, options);
  }
}

function pinPath(target: PinTarget): string {
  if ('digest' in target) return `/v1/store/${target.digest}/pin`;
  return `/v1/store/pin?image=${encodeURIComponent(target.image)}`;
}
