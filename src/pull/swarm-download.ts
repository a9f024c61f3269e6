/**
 * Fills one blob from peers and upstream together. The swarm decides; this class connects it to the store and
 * upstream.
 */
import { abortable } from '../util/async.ts';
import type { ChunkBytes } from '../util/content.ts';
import { isWeirError, toWeirError, type WeirError } from '../util/errors.ts';
import { registryBlobId } from '../oci/registry-blob.ts';
import type { Digest } from '../oci/digest.ts';
import type { RegistryHost, Repository } from '../oci/repository.ts';
import type { ByteFiles } from '../store/byte-files.ts';
import type { Ingest } from '../store/store.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import { Bitfield } from '../protocol/bitfield.ts';
import { ChunkLayout } from '../protocol/chunk-layout.ts';
import type { ReceiveBudget } from '../util/receive-budget.ts';
import type { Swarm } from '../swarm/swarm.ts';
import type { Sink, SinkResult } from '../swarm/environment.ts';
import type { SwarmManager } from '../swarm/swarm-manager.ts';
import { bearerOf, type Caller } from '../upstream/caller.ts';
import type { Upstream } from '../upstream/upstream.ts';
import type { PullRequest } from './access.ts';
import { UpstreamChunks } from './upstream-chunks.ts';
import type { ArrivingBlob, DownloadTarget, PeerSource } from './download-target.ts';
import type { UnfinishedChunks } from './unfinished-chunks.ts';

export interface SwarmDownloadOptions {
  readonly request: PullRequest;
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  readonly swarms: SwarmManager;
  readonly upstream: Pick<Upstream, 'openBlob'>;
  /** Takes the memory of chunks back. */
  readonly files: Pick<ByteFiles, 'give'>;
  readonly room: ReceiveBudget;
  readonly unfinished: UnfinishedChunks;
  /** Members that are said to have the whole blob, before a tracker has named any. */
  readonly seeds: readonly PeerId[];
  readonly onSettled: (pull: SwarmDownload, kept: boolean, failure: WeirError | undefined) => void;
}

/** The progress of a pull together with peers, as the status shows it. */
export interface PullView {
  readonly digest: Digest;
  readonly repository: Repository;
  /** Bytes of the blob. */
  readonly size: number;
  readonly chunks: number;
  readonly presentChunks: number;
  readonly presentBytes: number;
  /** Bitfields: the chunks that are here, and those of them that came from upstream. */
  readonly present: Uint8Array;
  readonly upstream: Uint8Array;
  readonly peers: number;
  /** Bytes. */
  readonly fromPeers: number;
  readonly fromUpstream: number;
}

export class SwarmDownload implements PeerSource {
  readonly size: number;
  readonly digest: Digest;
  readonly request: PullRequest;
  readonly #options: SwarmDownloadOptions;
  #swarm: Swarm | undefined;
  #upstream: UpstreamChunks | undefined;
  #target: DownloadTarget | undefined;
  readonly #fromUpstreamAt: Set<number> = new Set();
  #fromPeers = 0;
  fromUpstream = 0;
  /** A swarm has as many peers as the cluster has members at most. */
  readonly byPeer: Map<PeerId, number> = new Map();

  constructor(options: SwarmDownloadOptions) {
    this.#options = options;
    this.size = options.size;
    this.digest = options.digest;
    this.request = options.request;
  }

  /** The progress; undefined before {@link fetchInto}. */
  get view(): PullView | undefined {
    if (this.#swarm === undefined) return undefined;
    const { have, layout } = this.#swarm.state;
    const upstream = new Bitfield(layout.count);
    for (const index of this.#fromUpstreamAt) upstream.set(index);
    let presentBytes = 0;
    for (let i = have.firstSet(); i < have.length; i = have.firstSet(i + 1)) presentBytes += layout.length(i);
    return {
      digest: this.digest,
      repository: this.request.repository,
      size: this.size,
      chunks: layout.count,
      presentChunks: have.count,
      presentBytes,
      present: have.bytes.slice(),
      upstream: upstream.bytes,
      peers: this.#swarm.peers,
      fromPeers: this.#fromPeers,
      fromUpstream: this.fromUpstream,
    };
  }

  get hasPeers(): boolean {
    return this.#swarm?.isAlone === false && !this.#swarm.state.isVoid;
  }

  get isCutOff(): boolean {
    return this.#swarm?.fetcher.isCutOff === true;
  }

  /** The blob as it arrives; undefined before {@link fetchInto}. */
  get arriving(): ArrivingBlob | undefined {
    return this.#target;
  }

  async fetchInto(target: DownloadTarget): Promise<void> {
    const { swarms, upstream, files, room, unfinished, digest, request, size } = this.#options;
    const { registry, name } = request.repository;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const { ingest, signal, callers } = target;
    this.#target = target;
    if (ingest.nextGap() === undefined) return; // an earlier run brought all of it
    signal.throwIfAborted(); // otherwise a swarm would be opened that nobody closes
    this.#upstream = new UpstreamChunks({
      upstream,
      request,
      digest,
      layout: ingest.layout,
      files,
      room,
      unfinished,
      name: registryBlobId({ registry, digest }),
      signal,
      callers,
    });
    this.#swarm = swarms.open({
      swarm: { registry, digest },
      layout: new ChunkLayout(size),
      sink: sinkOf(ingest),
      upstream: this.#upstream,
      ownerRequest: () => ({ repository: name, token: tokenAmong(callers(), registry) }),
      onChunk: (index, from) => {
        const bytes = ingest.layout.length(index);
        if (from === undefined) {
          this.fromUpstream += bytes;
          this.#fromUpstreamAt.add(index);
        } else {
          this.#fromPeers += bytes;
          this.byPeer.set(from, (this.byPeer.get(from) ?? 0) + bytes);
        }
        target.changed();
      },
      onProgress: target.progressed,
      onComplete: resolve,
      onFailed: reject,
    });
    this.#introduceSeeds();
    await abortable(promise, signal);
  }

  /** Tells the swarm of its seeds as a tracker would: trackers hear of an import only some time later. */
  #introduceSeeds(): void {
    const { swarms, seeds, digest, request } = this.#options;
    if (seeds.length === 0) return;
    const { peer: self } = swarms.environment.membership.self;
    const swarm = { registry: request.repository.registry, digest };
    swarms.message(self, { kind: 'peers', swarm, peers: seeds.map((peer) => ({ peer, complete: true })) });
  }

  abandon(): void {
    this.#target = undefined;
    if (this.#swarm === undefined) return;
    this.#swarm.state.isVoid = true; // also stops bytes that are being sent now
    this.#options.swarms.close(this.#swarm, false);
  }

  judge(truth: Ingest): void {
    this.#swarm?.state.verdicts.judge((index) => truth.chunkHash(index));
  }

  settle(kept: boolean, failure: WeirError | undefined): void {
    const { swarms, onSettled } = this.#options;
    if (this.#swarm !== undefined) swarms.close(this.#swarm, kept);
    this.#upstream?.close();
    onSettled(this, kept, failure);
  }
}

function sinkOf(ingest: Ingest): Sink {
  return {
    has: (index) => ingest.has(index),
    hash: (index) => ingest.chunkHash(index),
    write: (index, bytes, expected, done) => {
      void writeChunk(ingest, index, bytes, expected, done);
    },
  };
}

/** Never rejects. */
async function writeChunk(
  ingest: Ingest,
  index: number,
  bytes: ChunkBytes,
  expected: Uint8Array | undefined,
  done: (result: SinkResult) => void,
): Promise<void> {
  let result: SinkResult;
  try {
    const hash = await ingest.writeChunk(index, bytes, expected);
    result = hash === undefined ? { kind: 'mismatch' } : { kind: 'written', hash };
  } catch (error) {
    const isLost = isWeirError(error, 'worker_lost');
    result = isLost ? { kind: 'lost' } : { kind: 'failed', error: toWeirError(error) };
  }
  done(result);
}

/** A Bearer token that one of the callers presented. Other credentials never leave the node. */
function tokenAmong(callers: readonly Caller[], registry: RegistryHost): string | undefined {
  for (const caller of callers) {
    const token = bearerOf(caller, registry);
    if (token !== undefined) return token;
  }
  return undefined;
}
