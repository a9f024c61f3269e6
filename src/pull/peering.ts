/**
 * The cluster as pulls see it: peers to pull a blob with, a manifest from a member, and this node's answers to others.
 *
 * ```
 * Download  ── share() ──► SwarmDownload ──► Swarm (swarm/)
 * Manifests ── fetch() ──► the manifest's owner among the members
 * members   ── ChunkServer, TagOwners ──► store, arriving blobs, Manifests
 * ```
 */
import { LRUCache } from 'lru-cache';
import { MINUTE, SECOND, type Clock } from '../util/clock.ts';
import { isHeld } from '../util/content.ts';
import { isWeirError, toWeirError, type WeirError } from '../util/errors.ts';
import type { Membership } from '../cluster/membership.ts';
import { digestAlgorithm, digestOf, type Digest } from '../oci/digest.ts';
import type { Repository } from '../oci/repository.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import type { ReceiveBudget } from '../util/receive-budget.ts';
import type { ByteFiles } from '../store/byte-files.ts';
import { ChunkOwners } from '../swarm/chunk-owners.ts';
import { registryBlobId } from '../oci/registry-blob.ts';
import { MESSAGE_LIMITS, type SwarmKey } from '../protocol/messages.ts';
import { PARAMETERS } from '../swarm/parameters.ts';
import type { SwarmManager } from '../swarm/swarm-manager.ts';
import type { ChunkAnswer, ChunkClient, ChunkFetch } from '../transfer/chunk-exchange.ts';
import { bearerOf } from '../upstream/caller.ts';
import type { Upstream } from '../upstream/upstream.ts';
import type { Access, PullRequest } from './access.ts';
import type { ArrivingBlob, PeerSource } from './download-target.ts';
import type { ManifestPeers, ManifestRequest } from './manifest-request.ts';
import type { TagOwners } from './tag-owners.ts';
import { SwarmDownload, type PullView } from './swarm-download.ts';
import { UnfinishedChunks } from './unfinished-chunks.ts';

/** Milliseconds for a member to send a manifest, or to get it from upstream first. */
const MANIFEST_PATIENCE = 3 * SECOND;
/** Members asked for one manifest: its owners, and the holders that they name. */
const MAX_ASKED = 6;
/** Pulls that have ended and are still reported, and milliseconds for which they are. */
const MAX_ENDED = 64;
const ENDED_FOR = 10 * MINUTE;
/**
 * Blobs that are pulled without peers because their registry contradicted itself, and milliseconds for which they are.
 * Peers would only spread the registry's wrong answers; after that time, a repaired registry is shared again.
 */
const MAX_LEFT = 1024;
const LEFT_FOR = 5 * MINUTE;

export interface PeeringOptions {
  readonly membership: Membership;
  readonly swarms: SwarmManager;
  readonly client: ChunkClient;
  readonly upstream: Pick<Upstream, 'openBlob'>;
  readonly access: Access;
  /** Takes the memory of chunks back. */
  readonly files: Pick<ByteFiles, 'give'>;
  /** Bounds the bytes that are received and not written yet. */
  readonly room: ReceiveBudget;
  readonly clock: Clock;
  /** Undefined if each node asks upstream for itself. */
  readonly tagOwners: TagOwners | undefined;
  /** Members that have imported the digest for this repository. */
  readonly importers: (repository: Repository, digest: Digest) => readonly PeerId[];
  /** Settles when the members are known, or none could be found. */
  readonly settled: Promise<void>;
  readonly problem: (message: string, error: unknown) => void;
  /** A manifest came from a member, and is right. */
  readonly received: (swarm: SwarmKey, from: PeerId, bytes: number) => void;
}

/** A pull together with peers, as the status shows it. */
export interface PullRecord {
  readonly view: PullView;
  /** Monotonic milliseconds. */
  readonly began: number;
  /** Undefined while it runs. */
  readonly ended: number | undefined;
  /** Whether the blob is whole and stays. */
  readonly kept: boolean;
}

interface RunningPull {
  readonly pull: SwarmDownload;
  readonly began: number;
}

export class Peering implements ManifestPeers {
  readonly #options: PeeringOptions;
  readonly #pulls: Map<string, RunningPull> = new Map();
  readonly #unfinished: UnfinishedChunks;
  readonly #ended: LRUCache<string, PullRecord>;
  /** Swarms that this node has left because the registry contradicted itself, by {@link registryBlobId}. */
  readonly #left: LRUCache<string, true>;

  constructor(options: PeeringOptions) {
    this.#options = options;
    this.#unfinished = new UnfinishedChunks(options.files);
    const perf = { now: (): number => options.clock.monotonic() };
    this.#ended = new LRUCache({ max: MAX_ENDED, ttl: ENDED_FOR, perf });
    this.#left = new LRUCache({ max: MAX_LEFT, ttl: LEFT_FOR, perf });
  }

  /** Running pulls, then those that ended lately, the latest first. */
  get pulls(): readonly PullRecord[] {
    const running: PullRecord[] = [];
    for (const { pull, began } of this.#pulls.values()) {
      const { view } = pull;
      if (view !== undefined) running.push({ view, began, ended: undefined, kept: false });
    }
    return [...running, ...this.#ended.values()];
  }

  /** The blob that is arriving in this swarm. */
  arriving(swarm: SwarmKey): ArrivingBlob | undefined {
    return this.#pulls.get(registryBlobId(swarm))?.pull.arriving;
  }

  /**
   * Peers to pull a blob with; undefined if there are none.
   * @throws WeirError upstream's answer to this caller
   */
  async share(request: PullRequest, digest: Digest): Promise<PeerSource | undefined> {
    const { settled, membership, access, swarms, upstream, files, room, clock } = this.#options;
    await settled;
    const id = registryBlobId({ registry: request.repository.registry, digest });
    if (membership.live().length < 2 || this.#left.has(id)) return undefined;
    const size = await access.admit(request, digest);
    // To announce a size that no message can carry would look to members like a breach of the protocol.
    if (size === undefined || size === 0 || size > MESSAGE_LIMITS.size) return undefined;
    const pull = new SwarmDownload({
      request,
      digest,
      size,
      swarms,
      upstream,
      files,
      room,
      unfinished: this.#unfinished,
      seeds: this.#options.importers(request.repository, digest),
      onSettled: (settledPull, kept, failure) => this.#settled(id, settledPull, kept, failure),
    });
    this.#pulls.set(id, { pull, began: clock.monotonic() });
    return pull;
  }

  tagOwners(): TagOwners | undefined {
    return this.#options.tagOwners;
  }

  async fetch(request: ManifestRequest, digest: Digest): Promise<Uint8Array | undefined> {
    const { membership, swarms } = this.#options;
    const { repository, caller, signal } = request;
    const self = membership.self.peer;
    const swarm = { registry: repository.registry, digest };
    // A credential of another kind never leaves the node: the owner is then only asked for a copy that it has.
    const token = bearerOf(caller, repository.registry);
    const isDelegable = typeof caller === 'string' || token !== undefined;
    const owner = isDelegable ? { repository: repository.name, token } : undefined;
    const owners = ChunkOwners.ownersOfManifest(swarm, membership.live(), PARAMETERS.trackers).map(
      ({ peer }) => peer,
    );
    const isOwner = owners[0] === self;
    const asked = new Set<PeerId>([self]);
    const importers = this.#options.importers(repository, digest);
    const queue = [...importers, ...(isOwner ? swarms.holders(swarm, self) : owners)];
    for (let at = 0; at < queue.length && at < MAX_ASKED; at++) {
      const peer = queue[at];
      if (peer === undefined || asked.has(peer)) continue;
      asked.add(peer);
      const answer = await this.#ask(
        peer,
        { swarm, range: undefined, owner: isOwner ? undefined : owner },
        signal,
      );
      if (answer?.kind === 'redirect') queue.push(...answer.holders);
      if (answer?.kind !== 'chunk' || isHeld(answer.bytes)) continue; // a whole blob is never held
      const { bytes } = answer;
      if (digestOf(bytes, digestAlgorithm(digest)) === digest) {
        this.#options.received(swarm, peer, bytes.length);
        return bytes;
      }
      membership.suspect(peer, 'wrong-bytes');
    }
    return undefined;
  }

  stored(repository: Repository, digest: Digest, size: number): void {
    if (this.#options.membership.live().length < 2) return;
    this.#options.swarms.announceManifest({ registry: repository.registry, digest }, size);
  }

  async #ask(
    peer: PeerId,
    request: ChunkFetch,
    signal: AbortSignal | undefined,
  ): Promise<ChunkAnswer | undefined> {
    const { membership, client, problem } = this.#options;
    const member = membership.get(peer);
    if (member === undefined || signal?.aborted === true) return undefined; // its event has passed
    const { promise, resolve } = Promise.withResolvers<ChunkAnswer | undefined>();
    const cancel = client.fetch(member, request, {
      connecting: () => undefined,
      sent: () => undefined,
      acknowledged: () => undefined,
      progressed: () => undefined,
      answered: resolve,
      failed: (error: WeirError) => {
        if (error.code !== 'peer_unreachable') problem(`manifest from ${peer}`, error);
        resolve(undefined);
      },
    });
    const limit = AbortSignal.timeout(MANIFEST_PATIENCE);
    const either = signal === undefined ? limit : AbortSignal.any([limit, signal]);
    const onAbort = (): void => {
      cancel();
      resolve(undefined);
    };
    either.addEventListener('abort', onAbort, { once: true });
    try {
      return await promise;
    } finally {
      either.removeEventListener('abort', onAbort);
    }
  }

  #settled(id: string, pull: SwarmDownload, kept: boolean, failure: WeirError | undefined): void {
    if (isWeirError(failure, 'digest_mismatch', 'upstream_protocol')) this.#left.set(id, true);
    const record = this.#pulls.get(id);
    if (record?.pull !== pull) return;
    this.#pulls.delete(id);
    const { view } = pull;
    // Only the view is kept, so that the pull's memory is freed.
    if (view !== undefined)
      this.#ended.set(id, { view, began: record.began, ended: this.#options.clock.monotonic(), kept });
  }
}

/** As the owner of a manifest that is not here, gets it from upstream or names the peers that have it. */
export async function manifestFor(
  swarm: SwarmKey,
  from: PeerId,
  swarms: SwarmManager,
  fetch: () => Promise<Uint8Array>,
): Promise<Uint8Array | readonly PeerId[] | undefined> {
  const holders = swarms.holders(swarm, from);
  if (holders.length > 0) return holders;
  try {
    return await fetch();
  } catch (error) {
    return toWeirError(error).fault === 'upstream' ? undefined : Promise.reject(toWeirError(error));
  }
}
