/**
 * Puts the requests of runtimes together to pulls of images. The mirror sees requests alone: a tag, its index, a manifest, some
 * blobs.
 *
 * A request belongs to the pull of the same client and repository whose manifests list what it asks for, else to the newest
 * one of that client and repository. A pull is over when the client has all blobs of the manifest, when it asks for the same
 * tag again after blobs, or after {@link QUIET} without a request: it may have the other blobs already.
 */
import type { Digest } from '../oci/digest.ts';
import { MAX_MANIFEST_BYTES, parseManifest, type Manifest } from '../oci/manifest.ts';
import type { ManifestReference } from '../oci/reference.ts';
import type { Repository } from '../oci/repository.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import type { BlobPullReport, PullReport } from '../status/pull-report.ts';
import { KIB, SECOND, type Clock } from '../util/clock.ts';
import { isWeirError } from '../util/errors.ts';
import { ImagePull, type BlobPull, type RequestEnd } from './image-pull.ts';

/** Milliseconds without a request after which a pull is over. */
const QUIET = 30 * SECOND;
/** Milliseconds between two looks. There are none while nothing is pulled. */
const LOOK_EVERY = 5 * SECOND;
/** Pulls that are not over; beyond that, the one that has been idle for the longest time ends. */
const MAX_OPEN = 256;
/** Bytes of a manifest that is read for its blobs: real ones have some KiB, and to read one of MiBs takes too long. */
const MAX_READ = Math.min(256 * KIB, MAX_MANIFEST_BYTES);

/** What one request is for. */
export interface AskedFor {
  /** Address and User-Agent. */
  readonly client: string;
  readonly repository: Repository;
  readonly what:
    | { readonly kind: 'manifest'; readonly reference: ManifestReference }
    | { readonly kind: 'blob'; readonly digest: Digest };
}

/** The manifest that a request was answered with. `bytes`: undefined for HEAD. */
export interface GotManifest {
  readonly digest: Digest;
  readonly bytes: Uint8Array | undefined;
}

/** A request that is being served. */
export interface Asked {
  readonly image: ImagePull;
  /** Undefined: for a manifest. */
  readonly blob: BlobPull | undefined;
}

export interface ImagePullsOptions {
  readonly clock: Clock;
  readonly nameOf: (peer: PeerId) => string;
  /** A blob has been served, or it failed. Called again if the client asks for it again. */
  readonly onBlob: (image: string, report: BlobPullReport) => void;
  readonly onImage: (report: PullReport) => void;
}

export class ImagePulls implements Disposable {
  readonly #options: ImagePullsOptions;
  /** The newest last. */
  readonly #open: Set<ImagePull> = new Set();
  readonly #over: AbortController = new AbortController();
  #isLooking = false;

  constructor(options: ImagePullsOptions) {
    this.#options = options;
  }

  /** Those that are not over, the newest first. */
  get running(): readonly PullReport[] {
    return [...this.#open].toReversed().map((image) => this.#report(image));
  }

  begin(asked: AskedFor): Asked {
    const { what } = asked;
    const image = this.#imageOf(asked) ?? this.#start(asked);
    if (what.kind === 'blob') return { image, blob: image.beginBlob(what.digest, this.#now) };
    image.beginManifest();
    return { image, blob: undefined };
  }

  end({ image, blob }: Asked, end: RequestEnd, manifest?: GotManifest): void {
    if (blob === undefined) {
      image.endManifest(end, this.#now);
      if (manifest !== undefined) image.listed(manifest.digest, read(manifest.bytes));
      return;
    }
    image.endBlob(blob, end, this.#now);
    if (blob.isOver) this.#tell(image, blob);
    if (image.isDone) this.#finish(image);
  }

  #imageOf({ client, repository, what }: AskedFor): ImagePull | undefined {
    const own = [...this.#open].toReversed().filter((image) => image.isOf(client, repository));
    if (what.kind === 'blob') return own.find((image) => image.lists(what.digest)) ?? own[0];
    const { reference } = what;
    const called = own.find((image) => image.isCalled(reference));
    if (called?.isBehindBlobs === true) this.#finish(called);
    else if (called !== undefined) return called;
    return reference.kind === 'tag'
      ? undefined
      : own.find((image) => image !== called && image.lists(reference.digest));
  }

  #start({ client, repository, what }: AskedFor): ImagePull {
    if (this.#open.size >= MAX_OPEN) this.#makeRoom();
    const reference = what.kind === 'manifest' ? what.reference : undefined;
    const date = this.#options.clock.now();
    const image = new ImagePull({ client, repository, reference, now: this.#now, date });
    this.#open.add(image);
    if (!this.#isLooking) void this.#look();
    return image;
  }

  /** Never rejects: ends pulls that have become quiet, as long as there are any. */
  async #look(): Promise<void> {
    this.#isLooking = true;
    const { signal } = this.#over;
    while (this.#open.size > 0 && !signal.aborted) {
      await this.#options.clock.sleep(LOOK_EVERY, { signal }).catch(() => undefined); // the node stops
      const before = this.#now - QUIET;
      for (const image of this.#open) if (image.isIdle && image.idleSince <= before) this.#finish(image);
    }
    this.#isLooking = false;
  }

  #makeRoom(): void {
    const idle = [...this.#open].filter(({ isIdle }) => isIdle);
    const [oldest] = idle.length === 0 ? this.#open : idle.toSorted((a, b) => a.idleSince - b.idleSince);
    if (oldest !== undefined) this.#finish(oldest);
  }

  #finish(image: ImagePull): void {
    if (!this.#open.delete(image)) return;
    for (const blob of image.blobs) if (!blob.isTold) this.#tell(image, blob);
    this.#options.onImage(this.#report(image));
  }

  #tell(image: ImagePull, blob: BlobPull): void {
    blob.isTold = true;
    this.#options.onBlob(image.image, blob.report(this.#now, this.#options.nameOf));
  }

  #report(image: ImagePull): PullReport {
    return image.report(this.#now, this.#options.nameOf);
  }

  get #now(): number {
    return this.#options.clock.monotonic();
  }

  /** Ends all pulls. */
  [Symbol.dispose](): void {
    this.#over.abort(); // nobody sees the reason
    for (const image of this.#open) this.#finish(image);
  }
}

function read(bytes: Uint8Array | undefined): Manifest | undefined {
  if (bytes === undefined || bytes.length > MAX_READ) return undefined;
  try {
    return parseManifest(bytes);
  } catch (error) {
    if (isWeirError(error, 'reference_invalid')) return undefined; // anything else that is stored like a manifest
    throw error;
  }
}
