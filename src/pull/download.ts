/**
 * One blob on its way from one registry into the store, shared by all who want it of that registry. What another
 * registry says of the same digest is another flight: who owns a registry could name any digest, and would be given the
 * bytes, or the credentials, that came for another one.
 *
 * A flight owns the {@link Ingest} and the request that fills it; readers tail the ingest, each at its own pace,
 * and hold nothing in memory. When the last reader leaves, the flight goes on for a grace (a runtime that was cut
 * off comes back), then stops and keeps the partial blob.
 *
 * What readers see is a growing prefix whose last chunk is held back until the whole digest is right. Blobs up to
 * 32 MiB are held back altogether, unless that takes longer than a reader should wait for its first byte. When the
 * digest turns out wrong the blob is fetched once more for those who have read nothing yet; the others are cut off.
 */
import { abortable, Bell } from '../util/async.ts';
import { MIB, SECOND, type Clock } from '../util/clock.ts';
import { isWeirError, toWeirError, WeirError } from '../util/errors.ts';
import type { Digest } from '../oci/digest.ts';
import type { RegistryBlob } from '../oci/registry-blob.ts';
import type { Repository } from '../oci/repository.ts';
import type { ReceiveBudget } from '../util/receive-budget.ts';
import type { Ingest, Store } from '../store/store.ts';
import type { Caller } from '../upstream/caller.ts';
import type { BlobStream, Upstream } from '../upstream/upstream.ts';
import type { PullRequest } from './access.ts';
import type { PeerSource } from './download-target.ts';
import { WriteBehind } from '../store/write-behind.ts';

/** Blobs up to this are verified whole before their first byte. */
export const WHOLE_FIRST_BYTES: number = 32 * MIB;
/** How long a reader waits for a small blob to be whole before it takes the prefix as it grows. */
export const WHOLE_FIRST_PATIENCE: number = 2 * SECOND;
/** How often a blob is fetched when its digest turns out wrong. */
const MAX_GENERATIONS = 2;

export interface DownloadOptions {
  readonly upstream: Pick<Upstream, 'openBlob'>;
  readonly store: Pick<Store, 'resume' | 'ingest'>;
  /** What may be received and not be written yet. */
  readonly room: ReceiveBudget;
  readonly clock: Clock;
  /** Milliseconds that the work goes on without a reader. */
  readonly linger: number;
  /** Upstream has delivered the whole blob, and it was right. */
  readonly onDelivered: () => void | Promise<void>;
  /** The flight will not change any more. */
  readonly onDone: (failure: WeirError | undefined) => void;
  /** Something failed that no reader waits for. */
  readonly onProblem: (error: unknown) => void;
  /** Asks upstream whether the first caller may have the blob. @throws WeirError what upstream answered */
  readonly admit: (request: PullRequest, digest: Digest) => Promise<number | undefined>;
  /** Finds company to fetch the blob with; undefined where there is none, or nothing to gain. */
  readonly share: ((request: PullRequest, digest: Digest) => Promise<PeerSource | undefined>) | undefined;
}

export class Download {
  readonly digest: Digest;
  /** Monotonic milliseconds. */
  readonly began: number;
  /** In whose name the blob is fetched. */
  readonly repository: Repository;
  /** Settles when upstream has accepted the request and the blob's size is known; rejects when the flight fails before. */
  readonly opened: Promise<void>;
  readonly #request: PullRequest;
  readonly #options: DownloadOptions;
  readonly #opening: PromiseWithResolvers<void> = Promise.withResolvers();
  readonly #stop: AbortController = new AbortController();
  readonly #changed: Bell = new Bell();
  readonly #passengers: Map<object, Caller> = new Map();
  readonly #run: Promise<void>;
  #ingest: Ingest | undefined;
  #generation = 0;
  #committed = false;
  #done = false;
  #failure: WeirError | undefined;
  #lastProgress: number;
  #lingering: AbortController | undefined;
  #shared: PeerSource | undefined;
  /** Whether it is known that there is company, or none. */
  #isDecided = false;

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

  /** What is fetched, and from which registry. */
  get blob(): RegistryBlob {
    return { registry: this.repository.registry, digest: this.digest };
  }

  /** @throws before {@link opened} */
  get ingest(): Ingest {
    if (this.#ingest === undefined) throw new WeirError('internal', 'the flight is not open yet');
    return this.#ingest;
  }

  /** Counts up when what was received turned out wrong and is fetched again. */
  get generation(): number {
    return this.#generation;
  }

  get committed(): boolean {
    return this.#committed;
  }

  /** Whether its size is known. */
  get isOpen(): boolean {
    return this.#ingest !== undefined;
  }

  get readers(): number {
    return this.#passengers.size;
  }

  /** Whether it is filled in company, or may yet be. */
  get maybeShared(): boolean {
    return this.isShared || (this.#options.share !== undefined && !this.#isDecided);
  }

  /** Whether it is filled in company. */
  get isShared(): boolean {
    return this.#shared !== undefined;
  }

  /** Whether others pull it too, or have it. */
  get hasPeers(): boolean {
    return this.#shared?.hasPeers === true;
  }

  /** It has failed or is being stopped: nobody may come aboard. */
  get failing(): boolean {
    return this.#stop.signal.aborted;
  }

  /** Settles when the flight will not change any more and, if it failed, has given its partial blob back. */
  get done(): Promise<void> {
    return this.#run;
  }

  get failure(): WeirError | undefined {
    return this.#failure;
  }

  /** Monotonic milliseconds at which a byte came last. */
  get lastProgress(): number {
    return this.#lastProgress;
  }

  /** Settles at the next change of anything that readers see. */
  changed(signal: AbortSignal | undefined): Promise<void> {
    return abortable(this.#changed.next, signal);
  }

  /** How many bytes from `position` on a reader may have now. */
  visible(position: number, wholeFirst: boolean): number {
    const { ingest } = this;
    const readable = ingest.readable(position);
    if (this.#committed) return readable;
    const { size, lastStart } = ingest.layout;
    const heldBack = wholeFirst && size <= WHOLE_FIRST_BYTES ? 0 : lastStart;
    return Math.max(0, Math.min(readable, heldBack - position));
  }

  /** A reader comes aboard; upstream is asked in its name when the first one is refused in mid-way. */
  addReader(passenger: object, caller: Caller): void {
    this.#passengers.set(passenger, caller);
    this.#lingering?.abort();
    this.#lingering = undefined;
  }

  /** A reader leaves; after the last one the work goes on for a grace. */
  leave(passenger: object): void {
    if (!this.#passengers.delete(passenger) || this.#passengers.size > 0) return;
    const after = this.#done ? this.#release() : this.#linger();
    after.catch((error: unknown) => this.#options.onProblem(error));
  }

  async #linger(): Promise<void> {
    const lingering = new AbortController();
    this.#lingering = lingering;
    try {
      await this.#options.clock.sleep(this.#options.linger, { signal: lingering.signal });
    } catch (error) {
      if (lingering.signal.aborted) return; // somebody came aboard, or the flight has landed
      throw error;
    }
    if (this.#passengers.size === 0) await this.stop();
  }

  /** Ends the work, keeping what has arrived. */
  async stop(): Promise<void> {
    this.#stop.abort(new WeirError('aborted', `the pull of ${this.digest} was given up`));
    await this.#run;
  }

  async #start(): Promise<void> {
    try {
      this.#ingest = await this.#options.store.resume(this.blob);
      this.#shared = await this.#options.share?.(this.#asked, this.digest);
      this.#isDecided = true;
      await this.#fetch();
      await this.#options.onDelivered();
    } catch (error) {
      this.#failure = toWeirError(this.#stop.signal.aborted ? this.#stop.signal.reason : error);
      this.#stop.abort(this.#failure); // a request that was opened and not read must not linger
      this.#opening.reject(this.#failure);
      // Whoever comes next must find the partial blob in the store. Only a full disk leaves readers something to
      // read: they go on without the store.
      if (!isWeirError(this.#failure, 'store_full')) await this.#release();
    }
    this.#shared?.settle(this.#committed, this.#failure);
    this.#done = true;
    this.#options.onDone(this.#failure);
    this.#changed.ring();
    this.#lingering?.abort();
    if (this.#passengers.size === 0) await this.#release();
  }

  async #fetch(): Promise<void> {
    do {
      if (this.#shared !== undefined && this.#generation === 0) await this.#fillShared(this.#shared);
      else if (this.#ingest !== undefined && this.#ingest.nextGap() === undefined) await this.#admitted();
      for (let gap = this.#nextGap(); gap !== undefined; gap = this.#nextGap()) {
        const stream = await this.#open(gap);
        const ingest = await this.#ingestOf(stream.size);
        this.#opening.resolve();
        await this.#fill(ingest, stream, gap.start);
      }
    } while (!(await this.#commit(this.ingest)));
    this.#shared?.judge(this.ingest);
  }

  /** An earlier run had brought all of the blob: nothing is left to ask for that would tell whether this caller may have it. */
  async #admitted(): Promise<void> {
    await this.#options.admit(this.#asked, this.digest);
    this.#opening.resolve();
  }

  async #fillShared(shared: PeerSource): Promise<void> {
    const ingest = await this.#ingestOf(shared.size);
    this.#opening.resolve();
    await shared.fetchInto({
      ingest,
      signal: this.#stop.signal,
      callers: () => [this.#request.caller, ...this.#passengers.values()],
      progressed: () => (this.#lastProgress = this.#options.clock.monotonic()),
      changed: () => this.#changed.ring(),
    });
  }

  /** As the first caller asked, but not with its signal: others may be waiting by the time at which it leaves. */
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
      caller,
      callers: () => [...this.#passengers.values()],
      signal: this.#stop.signal,
    });
  }

  /** @throws WeirError `upstream_protocol` where upstream contradicts the partial blob, which is then dropped */
  async #ingestOf(size: number): Promise<Ingest> {
    const before = this.#ingest;
    if (before?.layout.size === size) return before;
    await before?.[Symbol.asyncDispose]();
    const ingest = await this.#options.store.ingest(this.blob, size);
    this.#ingest = ingest;
    if (before === undefined) return ingest;
    const sizes = `${size} bytes now, ${before.layout.size} before`;
    throw new WeirError('upstream_protocol', `upstream says that ${this.digest} has ${sizes}`);
  }

  #fill(ingest: Ingest, stream: BlobStream, start: number): Promise<void> {
    const writer = new WriteBehind(start, this.#options.room, async (offset, buffers) => {
      await ingest.write(offset, buffers);
      this.#changed.ring();
    });
    const progressed = (): void => void (this.#lastProgress = this.#options.clock.monotonic());
    return writer.fill(stream.chunks, progressed, this.#stop.signal);
  }

  /** False where the digest is wrong and another try is due. */
  async #commit(ingest: Ingest): Promise<boolean> {
    try {
      await ingest.commit();
      this.#committed = true;
      return true;
    } catch (error) {
      this.#generation++;
      this.#shared?.abandon();
      this.#changed.ring();
      if (!isWeirError(error, 'digest_mismatch') || this.#generation >= MAX_GENERATIONS) throw error;
      return false;
    }
  }

  /** Never rejects: a flight that cannot close its files has to land all the same. */
  async #release(): Promise<void> {
    try {
      await this.#ingest?.[Symbol.asyncDispose]();
    } catch (error) {
      this.#options.onProblem(error);
    }
  }
}
