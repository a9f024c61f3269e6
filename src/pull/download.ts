/**
 * The download of one blob from one registry into the store, shared by all its readers. The same digest of another registry is
 * another download: else a registry could name any digest, and get bytes or credentials that came for another one's blob.
 *
 * A download owns the {@link Ingest} and the request that fills it. Readers follow the ingest, each at its own speed, and
 * hold nothing in memory: byte workers read its file, which is closed after them. When the last reader leaves, the download
 * goes on for a while (`linger`), because a runtime that was cut off comes back. Then it stops, and keeps the partial blob.
 *
 * Readers see a growing prefix (download-reader.ts). If the digest is wrong, those that have read nothing wait for a second try.
 */
import { abortable, Bell } from '../util/async.ts';
import { isWeirError, toWeirError, WeirError } from '../util/errors.ts';
import type { Digest } from '../oci/digest.ts';
import type { RegistryBlob } from '../oci/registry-blob.ts';
import type { Repository } from '../oci/repository.ts';
import { cannotKeep, type Ingest } from '../store/store.ts';
import type { Caller } from '../upstream/caller.ts';
import type { BlobStream } from '../upstream/upstream-blob.ts';
import type { PullRequest } from './access.ts';
import { arrivedOrigin, type BlobOrigin } from './blob-origin.ts';
import type { DownloadOptions } from './download-options.ts';
import type { PeerSource } from './download-target.ts';
import { Sends } from './sends.ts';

/** Times that a blob is fetched if its digest is wrong. */
const MAX_GENERATIONS = 2;

export class Download {
  readonly digest: Digest;
  /** Monotonic milliseconds. */
  readonly began: number;
  /** The repository in whose name the blob is fetched. */
  readonly repository: Repository;
  /** Resolves when upstream has accepted the request and the size is known; rejects if the download fails before. */
  readonly opened: Promise<void>;
  readonly #request: PullRequest;
  readonly #options: DownloadOptions;
  readonly #opening: PromiseWithResolvers<void> = Promise.withResolvers();
  readonly #stop: AbortController = new AbortController();
  readonly #changed: Bell = new Bell();
  readonly #readers: Map<object, Caller> = new Map();
  /** Bodies that are sent out of the ingest's file: it is closed after them. They stop when the bytes turn out wrong. */
  readonly sends: Sends = new Sends();
  readonly #run: Promise<void>;
  #ingest: Ingest | undefined;
  #generation = 0;
  #committed = false;
  #done = false;
  #failure: WeirError | undefined;
  #lastProgress: number;
  #lingering: AbortController | undefined;
  #peerSource: PeerSource | undefined;
  /** Whether it is known if there are peers. */
  #isDecided = false;
  /** Bytes that came from upstream without the peers' part. */
  #poured = 0;
  #wholeAt: number | undefined;

  constructor(request: PullRequest, digest: Digest, options: DownloadOptions) {
    this.digest = digest;
    this.repository = request.repository;
    this.#request = request;
    this.#options = options;
    this.began = options.clock.monotonic();
    this.#lastProgress = this.began;
    this.opened = this.#opening.promise;
    this.opened.catch(() => undefined); // nobody may be waiting any more
    this.#run = this.#start();
  }

  /** The digest that is fetched, and its registry. */
  get blob(): RegistryBlob {
    return { registry: this.repository.registry, digest: this.digest };
  }

  /** @throws before {@link opened} */
  get ingest(): Ingest {
    if (this.#ingest === undefined) throw new WeirError('internal', 'the download is not open yet');
    return this.#ingest;
  }

  /** Counts up when the received digest was wrong and the blob is fetched again. */
  get generation(): number {
    return this.#generation;
  }

  get committed(): boolean {
    return this.#committed;
  }

  /** Whether the blob's size is known. */
  get isOpen(): boolean {
    return this.#ingest !== undefined;
  }

  get readers(): number {
    return this.#readers.size;
  }

  /** Whether peers fill it too, or may yet do so. */
  get maybeShared(): boolean {
    return this.isShared || (this.#options.share !== undefined && !this.#isDecided);
  }

  /** Whether peers fill it too. */
  get isShared(): boolean {
    return this.#peerSource !== undefined;
  }

  /** Whether peers pull the blob too, or have it. */
  get hasPeers(): boolean {
    return this.#peerSource?.hasPeers === true;
  }

  /** This machine has no way to the registry. */
  get isCutOff(): boolean {
    return this.#peerSource?.isCutOff === true;
  }

  /** It has failed or is being stopped: no reader may be added. */
  get failing(): boolean {
    return this.#stop.signal.aborted;
  }

  /** Settles when the download will not change any more. If it failed, its partial blob is then back in the store. */
  get done(): Promise<void> {
    return this.#run;
  }

  get failure(): WeirError | undefined {
    return this.#failure;
  }

  get origin(): BlobOrigin {
    return arrivedOrigin({
      present: this.#ingest?.presentBytes ?? 0,
      fromRegistry: this.#poured + (this.#peerSource?.fromUpstream ?? 0),
      byPeer: this.#peerSource?.byPeer,
      wholeAt: this.#wholeAt,
    });
  }

  /** When the last byte came, in monotonic milliseconds. */
  get lastProgress(): number {
    return this.#lastProgress;
  }

  /** Settles at the next change that readers can see. */
  changed(signal: AbortSignal | undefined): Promise<void> {
    return abortable(this.#changed.next, signal);
  }

  #interrupt(): void {
    this.sends.stop(); // its reader looks again at what may be sent
    this.#changed.ring();
  }

  /** Adds a reader. Upstream is asked in its name if the first caller is refused in the middle of the blob. */
  addReader(reader: object, caller: Caller): void {
    this.#readers.set(reader, caller);
    this.#lingering?.abort();
    this.#lingering = undefined;
  }

  /** A reader leaves; after the last one the download goes on for a while. */
  leave(reader: object): void {
    if (!this.#readers.delete(reader) || this.#readers.size > 0) return;
    const after = this.#done ? this.#release() : this.#linger();
    after.catch((error: unknown) => this.#options.onProblem(error));
  }

  async #linger(): Promise<void> {
    const lingering = new AbortController();
    this.#lingering = lingering;
    try {
      await this.#options.clock.sleep(this.#options.linger, { signal: lingering.signal });
    } catch (error) {
      if (lingering.signal.aborted) return; // a reader was added, or the download is done
      throw error;
    }
    if (this.#readers.size === 0) await this.stop();
  }

  /** Ends the download; bytes that have arrived are kept. */
  async stop(): Promise<void> {
    this.#stop.abort(new WeirError('aborted', `the pull of ${this.digest} was given up`));
    await this.#run;
  }

  async #start(): Promise<void> {
    try {
      this.#ingest = await this.#options.store.resume(this.blob);
      this.#peerSource = await this.#options.share?.(this.#asked, this.digest);
      this.#isDecided = true;
      await this.#fetch();
      await this.#options.onDelivered();
    } catch (error) {
      this.#failure = toWeirError(this.#stop.signal.aborted ? this.#stop.signal.reason : error);
      this.#stop.abort(this.#failure); // a request that was opened and not read must not linger
      this.#opening.reject(this.#failure);
      this.#interrupt();
      // The next download must find the partial blob in the store. Only if the disk is full do readers keep the
      // ingest: they go on without the store.
      if (!cannotKeep(this.#failure)) await this.#release();
    }
    this.#peerSource?.settle(this.#committed, this.#failure);
    this.#done = true;
    this.#options.onDone(this.#failure);
    this.#changed.ring();
    this.#lingering?.abort();
    if (this.#readers.size === 0) await this.#release();
  }

  async #fetch(): Promise<void> {
    do {
      if (this.#peerSource !== undefined && this.#generation === 0)
        await this.#fillFromPeers(this.#peerSource);
      else if (this.#ingest !== undefined && this.#ingest.nextGap() === undefined) await this.#admitted();
      for (let gap = this.#nextGap(); gap !== undefined; gap = this.#nextGap()) {
        const stream = await this.#open(gap);
        const ingest = await this.#ingestOf(stream.size);
        this.#opening.resolve();
        // Chunks of an earlier pull have turned up: only the gaps between them are wanted.
        if (gap.end === undefined && ingest.presentBytes > 0) stream.leave();
        else await this.#fill(ingest, stream, gap.start);
      }
    } while (!(await this.#commit(this.ingest)));
    this.#peerSource?.judge(this.ingest);
  }

  /** An earlier run brought all of the blob, so no request is left that would show whether this caller may have it. */
  async #admitted(): Promise<void> {
    await this.#options.admit(this.#asked, this.digest);
    this.#opening.resolve();
  }

  async #fillFromPeers(source: PeerSource): Promise<void> {
    const ingest = await this.#ingestOf(source.size);
    this.#opening.resolve();
    await source.fetchInto({
      ingest,
      sends: this.sends,
      signal: this.#stop.signal,
      callers: () => [this.#request.caller, ...this.#readers.values()],
      progressed: () => (this.#lastProgress = this.#options.clock.monotonic()),
      changed: () => this.#changed.ring(),
    });
  }

  /** The first caller's request, without its signal: others may be waiting when it leaves. */
  get #asked(): PullRequest {
    return { ...this.#request, signal: this.#stop.signal };
  }

  #nextGap(): { start: number; end?: number } | undefined {
    return this.#ingest === undefined ? { start: 0 } : this.#ingest.nextGap();
  }

  #open(gap: { start: number; end?: number }): Promise<BlobStream> {
    const { upstream } = this.#options;
    const { repository, caller } = this.#request;
    return upstream.openBlob(repository, this.digest, {
      ...gap,
      size: this.#ingest?.layout.size ?? this.#options.listedSize(),
      caller,
      callers: () => [...this.#readers.values()],
      signal: this.#stop.signal,
    });
  }

  /** @throws WeirError `upstream_protocol` if upstream contradicts the partial blob, which is then dropped */
  async #ingestOf(size: number): Promise<Ingest> {
    const before = this.#ingest;
    if (before?.layout.size === size) return before;
    if (before === undefined) return (this.#ingest = await this.#options.store.ingest(this.blob, size));
    const sizes = `${size} bytes now, ${before.layout.size} before`;
    this.#failure = new WeirError('upstream_protocol', `upstream says that ${this.digest} has ${sizes}`);
    this.#interrupt();
    await this.sends.ended();
    await before[Symbol.asyncDispose]();
    this.#ingest = await this.#options.store.ingest(this.blob, size);
    throw this.#failure;
  }

  /** A byte worker writes the body into the ingest's file. */
  async #fill(ingest: Ingest, stream: BlobStream, start: number): Promise<void> {
    const pour = ingest.pour(start);
    const reserve = (to: number): Promise<void> => pour.reserve(to);
    const wrote = (index: number, hash: Uint8Array): void => pour.wrote(index, hash);
    let at = start;
    try {
      await stream.readInto({ kind: 'file', file: pour.file, reserve, wrote }, (position) => {
        at = Math.max(at, position);
        this.#lastProgress = this.#options.clock.monotonic();
        this.#changed.ring();
      });
    } finally {
      pour.ended(at);
      this.#poured += at - start;
      this.#changed.ring();
    }
  }

  /** False if the digest is wrong and another try is due. */
  async #commit(ingest: Ingest): Promise<boolean> {
    try {
      await ingest.commit();
      this.#committed = true;
      this.#wholeAt = this.#options.clock.monotonic();
      return true;
    } catch (error) {
      this.#generation++;
      this.#options.onWrong();
      this.#peerSource?.abandon();
      this.#interrupt();
      if (!isWeirError(error, 'digest_mismatch') || this.#generation >= MAX_GENERATIONS) throw error;
      return false;
    }
  }

  /** Never rejects: a download that cannot close its files must end all the same. */
  async #release(): Promise<void> {
    try {
      await this.sends.ended();
      await this.#ingest?.[Symbol.asyncDispose]();
    } catch (error) {
      this.#options.onProblem(error);
    }
  }
}
