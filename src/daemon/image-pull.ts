/** One image as one client pulls it: what was asked for, and what it brought. Pure: the time is handed in. */
import type { Digest } from '../oci/digest.ts';
import type { Manifest } from '../oci/manifest.ts';
import { formatImageReference, type ManifestReference } from '../oci/reference.ts';
import { repositoryKey, type Repository } from '../oci/repository.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import {
  MAX_BLOBS_PER_PULL,
  type BlobPullReport,
  type PullOutcome,
  type PullReport,
  type PullState,
} from '../status/pull-report.ts';
import { SECOND } from '../util/clock.ts';
import { NO_WAITS, WAIT_CAUSES, type WaitSeconds } from '../util/waits.ts';
import { PullTally, type BytesBySource } from './pull-tally.ts';

/** Digests of an image that are remembered, to find the image that a request belongs to. */
const MAX_DIGESTS = 512;

/** How one request ended. */
export interface RequestEnd extends BytesBySource {
  readonly outcome: PullOutcome;
  /** Of the failure. */
  readonly code?: string | undefined;
  readonly waits: WaitSeconds;
  readonly seconds: number;
  /** Bytes of the whole blob, if they are known. */
  readonly size?: number | undefined;
  /** From the request to the moment at which its first byte could be sent. */
  readonly firstByteSeconds?: number | undefined;
}

/** Characters of a client's name. */
const MAX_CLIENT = 64;

type Names = (peer: PeerId) => string;

/** Times are monotonic milliseconds. */
export class BlobPull {
  readonly digest: Digest;
  readonly #began: number;
  readonly #tally: PullTally = new PullTally();
  #active = 0;
  #requests = 0;
  #ended: number;
  #size: number | undefined;
  #firstByte: number | undefined;
  #last: Pick<RequestEnd, 'outcome' | 'code'> = { outcome: 'complete' };
  /** Its line of the log is written, and nothing happened since. */
  isTold = false;

  constructor(digest: Digest, now: number) {
    this.digest = digest;
    this.#began = now;
    this.#ended = now;
  }

  begin(): void {
    this.#active += 1;
    this.#requests += 1;
    this.isTold = false;
  }

  end(end: RequestEnd, now: number): void {
    this.#active -= 1;
    this.#ended = now;
    this.#size ??= end.size;
    this.#firstByte = firstByteOf(end, now, this.#firstByte);
    this.#tally.add(end, end.waits);
    this.#last = end;
  }

  get isWhole(): boolean {
    return this.#size !== undefined && this.#tally.bytes >= this.#size;
  }

  /** Whether nothing more is to be told of it, unless the client asks again. Parts of it may be asked for one by one. */
  get isOver(): boolean {
    return this.#active === 0 && (this.state !== 'complete' || this.isWhole);
  }

  get state(): PullState {
    if (this.#active > 0) return 'pulling';
    // Clients that ask for open-ended parts side by side close each of them in the middle.
    return this.#last.outcome === 'client_left' && this.isWhole ? 'complete' : this.#last.outcome;
  }

  get code(): string | undefined {
    return this.state === 'failed' ? this.#last.code : undefined;
  }

  report(now: number, names: Names): BlobPullReport {
    const { state, code, digest } = this;
    const firstByte = this.#firstByte;
    return {
      digest,
      ...(this.#size === undefined ? {} : { size: this.#size }),
      requests: this.#requests,
      state,
      ...(code === undefined ? {} : { code }),
      seconds: secondsOf((this.#active > 0 ? now : this.#ended) - this.#began),
      ...(firstByte === undefined ? {} : { first_byte_seconds: secondsOf(firstByte - this.#began) }),
      bytes: this.#tally.bytes,
      sources: this.#tally.sources,
      peers: this.#tally.topPeers(names),
      waits: rounded(this.#tally.waits),
    };
  }
}

export interface ImagePullOptions {
  /** Address and User-Agent. */
  readonly client: string;
  readonly repository: Repository;
  /** Undefined if the client asks for blobs of no manifest that it got here. */
  readonly reference: ManifestReference | undefined;
  /** Monotonic milliseconds, and milliseconds since the epoch. */
  readonly now: number;
  readonly date: number;
}

export class ImagePull {
  readonly #options: ImagePullOptions;
  readonly #digests = new Set<Digest>();
  /** Blobs of the image manifests that the client got: once it has all of them, the image is done. */
  readonly #expected = new Set<Digest>();
  readonly #blobs = new Map<Digest, BlobPull>();
  readonly #tally: PullTally = new PullTally();
  #digest: Digest | undefined;
  #active = 0;
  #moreBlobs = 0;
  #manifestSeconds = 0;
  #firstByte: number | undefined;
  #last: Pick<RequestEnd, 'outcome' | 'code'> = { outcome: 'complete' };
  /** When the last request ended. */
  idleSince: number;

  constructor(options: ImagePullOptions) {
    this.#options = options;
    const { reference, now } = options;
    this.idleSince = now;
    if (reference?.kind === 'digest') this.#isAt(reference.digest);
  }

  get isIdle(): boolean {
    return this.#active === 0;
  }

  get blobs(): readonly BlobPull[] {
    return [...this.#blobs.values()];
  }

  get image(): string {
    const { repository, reference } = this.#options;
    return reference === undefined
      ? repositoryKey(repository)
      : formatImageReference({ repository, reference });
  }

  isOf(client: string, { registry, name }: Repository): boolean {
    const { client: own, repository } = this.#options;
    return own === client && repository.registry === registry && repository.name === name;
  }

  isCalled(wanted: ManifestReference): boolean {
    const { reference } = this.#options;
    if (reference?.kind === 'tag') return wanted.kind === 'tag' && wanted.tag === reference.tag;
    return reference !== undefined && wanted.kind === 'digest' && wanted.digest === reference.digest;
  }

  /** Whether a manifest of it lists the digest, or has it. */
  lists(digest: Digest): boolean {
    return this.#digests.has(digest);
  }

  /** Whether the client has got blobs and asks for nothing now: if it asks for the tag again, that is another pull. */
  get isBehindBlobs(): boolean {
    return this.isIdle && (this.#blobs.size > 0 || this.#moreBlobs > 0);
  }

  /** Whether all blobs of the image are with the client. */
  get isDone(): boolean {
    if (!this.isIdle || this.#expected.size === 0 || this.#expected.size >= MAX_DIGESTS) return false;
    return [...this.#expected].every((digest) => {
      const blob = this.#blobs.get(digest);
      return blob?.isWhole === true && (blob.state === 'complete' || blob.state === 'passed_through');
    });
  }

  beginManifest(): void {
    this.#active += 1;
  }

  beginBlob(digest: Digest, now: number): BlobPull {
    this.#active += 1;
    let blob = this.#blobs.get(digest);
    if (blob === undefined) {
      blob = new BlobPull(digest, now);
      if (this.#blobs.size < MAX_BLOBS_PER_PULL) this.#blobs.set(digest, blob);
      else this.#moreBlobs += 1;
    }
    blob.begin();
    return blob;
  }

  endManifest(end: RequestEnd, now: number): void {
    this.#end(end, now);
    this.#manifestSeconds += end.seconds;
    this.#last = end;
  }

  endBlob(blob: BlobPull, end: RequestEnd, now: number): void {
    blob.end(end, now);
    this.#end(end, now);
    this.#firstByte = firstByteOf(end, now, this.#firstByte);
  }

  /** The client was told of this manifest, and has got it unless `manifest` is undefined. */
  listed(digest: Digest, manifest: Manifest | undefined): void {
    this.#isAt(digest);
    if (manifest === undefined) return;
    const children = manifest.kind === 'index' ? manifest.manifests : [manifest.config, ...manifest.layers];
    for (const child of children) {
      if (this.#digests.size < MAX_DIGESTS) this.#digests.add(child.digest);
      if (manifest.kind === 'image' && this.#expected.size < MAX_DIGESTS) this.#expected.add(child.digest);
    }
  }

  report(now: number, names: Names): PullReport {
    const { client, date, now: began } = this.#options;
    const digest = this.#digest;
    const firstByte = this.#firstByte;
    return {
      image: this.image,
      ...(digest === undefined ? {} : { digest }),
      client: clientName(client),
      began: new Date(date).toISOString(),
      ...this.#outcome,
      seconds: secondsOf((this.isIdle ? this.idleSince : now) - began),
      ...(firstByte === undefined ? {} : { first_byte_seconds: secondsOf(firstByte - began) }),
      manifest_seconds: secondsOf(this.#manifestSeconds * SECOND),
      bytes: this.#tally.bytes,
      sources: this.#tally.sources,
      peers: this.#tally.topPeers(names),
      waits: rounded(this.#tally.waits),
      blobs: this.blobs.map((blob) => blob.report(now, names)),
      more_blobs: this.#moreBlobs,
    };
  }

  #isAt(digest: Digest): void {
    this.#digest ??= digest;
    if (this.#digests.size < MAX_DIGESTS) this.#digests.add(digest);
  }

  #end(end: RequestEnd, now: number): void {
    this.#active -= 1;
    this.idleSince = now;
    this.#tally.add(end, end.waits);
  }

  /** The worst of its parts, each as it ended last. */
  get #outcome(): { readonly state: PullState; readonly code?: string } {
    if (!this.isIdle) return { state: 'pulling' };
    const parts = [{ state: this.#last.outcome, code: this.#last.code }, ...this.#blobs.values()];
    for (const state of WORST_FIRST) {
      const part = parts.find((each) => each.state === state);
      if (part === undefined) continue;
      return state === 'failed' && part.code !== undefined ? { state, code: part.code } : { state };
    }
    return { state: 'complete' };
  }
}

/** When the first byte could be sent, of this request or of one `before`. Requests run side by side, and end in any order. */
function firstByteOf(
  { seconds, firstByteSeconds }: RequestEnd,
  now: number,
  before: number | undefined,
): number | undefined {
  if (firstByteSeconds === undefined) return before;
  return Math.min(before ?? Infinity, now - (seconds - firstByteSeconds) * SECOND);
}

const WORST_FIRST = ['failed', 'client_left', 'handed_over', 'passed_through'] as const;

/** `containerd/2.1.4`: the first word of the User-Agent, behind the address. */
function clientName(client: string): string {
  const [, word = ''] = /^\S* ([\x21-\x7e]+)/.exec(client) ?? [];
  return word.slice(0, MAX_CLIENT);
}

/** Milliseconds as seconds, to the millisecond. */
function secondsOf(milliseconds: number): number {
  return Math.round(Math.max(0, milliseconds)) / SECOND;
}

function rounded(waits: WaitSeconds): WaitSeconds {
  const seconds = { ...NO_WAITS };
  for (const cause of WAIT_CAUSES) seconds[cause] = secondsOf(waits[cause] * SECOND);
  return seconds;
}
