/**
 * Pulls one image into the store without a runtime, as a runtime on this node would: by the same manifests, blobs, access
 * rules and peers. What was pulled is kept until a runtime reads it, or the order's time is over.
 *
 * What is kept takes at most {@link KEPT_SHARE} of the store, so that orders leave room for what runtimes ask for.
 */
import { repeat } from '../util/async.ts';
import { SECOND, type Clock } from '../util/clock.ts';
import { isWeirError, toWeirError, WeirError } from '../util/errors.ts';
import { ACCEPT_MANIFESTS, parseManifest, type Descriptor, type Platform } from '../oci/manifest.ts';
import type { Digest } from '../oci/digest.ts';
import { selectManifest } from '../oci/platform.ts';
import type { ImageReference, ManifestReference } from '../oci/reference.ts';
import type { Repository } from '../oci/repository.ts';
import type { ImageProgress } from '../protocol/preheat-messages.ts';
import { isOffline } from '../pull/access.ts';
import type { Blobs } from '../pull/blobs.ts';
import type { Manifests } from '../pull/manifests.ts';
import type { LastUse } from '../store/last-use.ts';
import { cannotKeep, type BlobProvider, type StoreUsage } from '../store/store.ts';
import type { Upstream } from '../upstream/upstream.ts';

/** Share of the quota that preheated content may take. */
export const KEPT_SHARE = 0.5;
/** Blobs of an image at a time: one more than containerd, as nobody unpacks them meanwhile. */
const BLOBS_AT_ONCE = 4;
/** Milliseconds until a blob is tried again that is arriving for a runtime, or that has no place yet. */
const LATER = 0.5 * SECOND;
/** Milliseconds between two looks at how far the blobs are. */
const TOLD_EVERY = 1 * SECOND;
/** Milliseconds before each further attempt if upstream cannot be reached, or throttles. */
const RETRIES: readonly number[] = [2 * SECOND, 10 * SECOND, 30 * SECOND];

export interface ImagePullOptions {
  readonly manifests: Pick<Manifests, 'get'>;
  readonly blobs: Pick<Blobs, 'prefetch' | 'arriving'>;
  readonly providers: readonly Pick<BlobProvider, 'stat'>[];
  readonly store: {
    readonly lastUse: Pick<LastUse, 'keep' | 'isKept' | 'keptBytes'>;
    usage(): Pick<StoreUsage, 'quota'>;
  };
  readonly upstream: Pick<Upstream, 'checkReach'>;
  readonly clock: Clock;
}

export interface WantedImage {
  readonly image: ImageReference;
  readonly platform: Platform;
  /** Milliseconds since the epoch. */
  readonly keepUntil: number;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: ImageProgress) => void;
}

interface Found {
  /** The manifests on the way to the image, itself the last. */
  readonly manifests: readonly Digest[];
  /** Config and layers, each once. */
  readonly blobs: readonly Descriptor[];
}

export class ImagePull {
  readonly #options: ImagePullOptions;

  constructor(options: ImagePullOptions) {
    this.#options = options;
  }

  /** Never rejects. One image at a time, or two would take the same room. @returns the last progress */
  async run(wanted: WantedImage): Promise<ImageProgress> {
    const { clock } = this.#options;
    let last = { presentBytes: 0, size: 0 };
    const onProgress = (progress: ImageProgress): void => {
      last = progress;
      wanted.onProgress(progress);
    };
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.#pull({ ...wanted, onProgress });
      } catch (error) {
        const wait = RETRIES[attempt];
        const failure = toWeirError(wanted.signal.aborted ? wanted.signal.reason : error);
        const isOver = wait === undefined || wanted.signal.aborted || !isOffline(error);
        if (isOver) {
          const state = cannotKeep(failure) ? 'no-room' : 'failed';
          return { ...last, state, reason: `${failure.code}: ${failure.message}` };
        }
        // The sleep ends with the signal, and the next attempt with its reason.
        await clock.sleep(wait * (0.5 + clock.random()), wanted).catch(() => undefined);
      }
    }
  }

  async #pull(wanted: WantedImage): Promise<ImageProgress> {
    const { image, signal, onProgress } = wanted;
    signal.throwIfAborted();
    // Whoever gave the order is not of this node: a place on this machine must be one that its operator has configured.
    this.#options.upstream.checkReach(image.repository.registry, 'anonymous');
    onProgress({ state: 'pulling', reason: '', presentBytes: 0, size: 0 });
    const found = await this.#find(wanted).catch((error: unknown) => {
      if (isWeirError(error, 'manifest_unknown') && error.detail['platform'] !== undefined) return error;
      throw error;
    });
    if (found instanceof WeirError) {
      return { state: 'other-platform', reason: found.message, presentBytes: 0, size: 0 };
    }
    const size = bytesOf(found.blobs);
    const missing: Descriptor[] = [];
    let toKeep = 0;
    for (const blob of found.blobs) {
      const isHere = await this.#isHere(blob.digest);
      if (!isHere) missing.push(blob);
      if (!this.#options.store.lastUse.isKept(blob.digest)) toKeep += blob.size;
    }
    const problem = this.#roomProblem(toKeep);
    const here = size - bytesOf(missing);
    if (problem !== undefined) return { state: 'no-room', reason: problem, presentBytes: here, size };
    return await this.#fetch(wanted, found, { missing, here, size });
  }

  async #fetch(
    { image: { repository }, keepUntil, signal, onProgress }: WantedImage,
    { manifests, blobs }: Found,
    { missing, here, size }: { missing: readonly Descriptor[]; here: number; size: number },
  ): Promise<ImageProgress> {
    const { lastUse } = this.#options.store;
    for (const digest of manifests) {
      if (await this.#isHere(digest)) lastUse.keep(digest, keepUntil);
      else throw new WeirError('store_full', `the manifest ${digest} could not be stored`);
    }
    const { registry } = repository;
    const absent = new Set(missing.map(({ digest }) => digest));
    const arriving = new Set<Digest>();
    let present = here;
    let fetched = 0;
    const tell = (): void => {
      let bytes = present;
      for (const digest of arriving) {
        const download = this.#options.blobs.arriving({ registry, digest });
        if (download?.isOpen === true) bytes += download.ingest.presentBytes;
      }
      onProgress({ state: 'pulling', reason: '', presentBytes: Math.min(bytes, size), size });
    };
    const queue = blobs.values();
    const over = new AbortController(); // of all, or of one that failed, which ends the others
    const either = AbortSignal.any([signal, over.signal]);
    const work = async (): Promise<void> => {
      for (const { digest, size: bytes } of queue) {
        if (absent.has(digest)) arriving.add(digest);
        if (await this.#bring(repository, digest, either)) fetched += 1;
        lastUse.keep(digest, keepUntil);
        arriving.delete(digest);
        if (absent.has(digest)) present += bytes;
        tell();
      }
    };
    tell();
    void this.#repeat(tell, either);
    await Promise.all(
      Array.from({ length: BLOBS_AT_ONCE }, () => work().catch((error: unknown) => over.abort(error))),
    );
    either.throwIfAborted();
    over.abort();
    const state = missing.length === 0 && fetched === 0 ? 'present' : 'done';
    return { state, reason: '', presentBytes: size, size };
  }

  /** Never rejects. A layer may take an hour. */
  async #repeat(tell: () => void, signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    const work = { interval: (): number => TOLD_EVERY, work: tell, onError: (): void => undefined };
    await repeat(clock, signal, work);
  }

  /** @returns whether it was fetched; false: it was here */
  async #bring(repository: Repository, digest: Digest, signal: AbortSignal): Promise<boolean> {
    const { blobs, clock } = this.#options;
    for (;;) {
      const outcome = await blobs.prefetch({
        repository,
        digest,
        caller: 'configured',
        proven: true,
        signal,
      });
      if (outcome !== 'later') return outcome === 'fetched';
      await clock.sleep(LATER * (0.5 + clock.random()), { signal });
    }
  }

  async #find({ image, platform, signal }: WantedImage): Promise<Found> {
    const top = await this.#manifest(image.repository, image.reference, signal);
    const index = parseManifest(top.bytes);
    if (index.kind === 'image') return { manifests: [top.digest], blobs: blobsOf(index) };
    const { digest } = chosen(index.manifests, platform);
    const manifest = await this.#manifest(image.repository, { kind: 'digest', digest }, signal);
    const child = parseManifest(manifest.bytes);
    if (child.kind === 'index') throw new WeirError('reference_invalid', 'an index that names an index');
    return { manifests: [top.digest, digest], blobs: blobsOf(child) };
  }

  async #manifest(
    repository: Repository,
    reference: ManifestReference,
    signal: AbortSignal,
  ): Promise<{ readonly digest: Digest; readonly bytes: Uint8Array }> {
    const { manifests } = this.#options;
    const request = {
      repository,
      reference,
      accept: ACCEPT_MANIFESTS,
      caller: 'configured',
      signal,
    } as const;
    const { digest, bytes, stale } = await manifests.get(request);
    if (stale) throw new WeirError('upstream_unreachable', 'the registry cannot be asked for the tag');
    if (bytes === undefined) throw new WeirError('internal', 'a manifest without its bytes');
    return { digest, bytes };
  }

  async #isHere(digest: Digest): Promise<boolean> {
    for (const provider of this.#options.providers) {
      if ((await provider.stat(digest)) !== undefined) return true;
    }
    return false;
  }

  #roomProblem(bytes: number): string | undefined {
    const { store } = this.#options;
    const room = Math.floor(store.usage().quota * KEPT_SHARE);
    const kept = store.lastUse.keptBytes;
    if (kept + bytes <= room) return undefined;
    return `the image has ${bytes} bytes that are not kept yet, and ${kept} of ${room} bytes are kept for others`;
  }
}

/** @throws WeirError `manifest_unknown` with the platform as a detail */
function chosen(manifests: readonly Descriptor[], platform: Platform): Descriptor {
  try {
    return selectManifest(manifests, platform);
  } catch (error) {
    if (!isWeirError(error, 'manifest_unknown')) throw error;
    throw new WeirError(error.code, error.message, { detail: { platform: platform.architecture } });
  }
}

/** A descriptor with URLs of its own need not be in the registry. */
function blobsOf(
  manifest: Extract<ReturnType<typeof parseManifest>, { kind: 'image' }>,
): readonly Descriptor[] {
  const all = [manifest.config, ...manifest.layers].filter(({ urls = [] }) => urls.length === 0);
  return [...new Map(all.map((blob) => [blob.digest, blob])).values()];
}

function bytesOf(blobs: readonly Descriptor[]): number {
  return blobs.reduce((sum, { size }) => sum + size, 0);
}
